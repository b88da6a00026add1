# ruff: noqa
# %%
1 + 1
# %%
1 / 0
# %%
"after the exception"
