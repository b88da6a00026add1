"""An answer to each exercise as a reader would write it: no checks of arguments, no fast paths. Bodies for stubs."""

PLAIN = {
    "tilted_well_gradient": """
        return 2*x**3 - 3*x**2 - 4*x + 3
    """,
    "gradient_descent": """
        path = [x]
        for _ in range(n_steps):
            path.append(path[-1] - lr*gradient(energy, path[-1]))
        return torch.stack(path)
    """,
    "boltzmann": """
        return torch.softmax((E.amin(-1, keepdim=True) - E)/T, -1)
    """,
    "entropy": """
        return -torch.xlogy(p, p).sum(-1)
    """,
    "macrostate_free_energy": """
        inside = label == torch.arange(label.max() + 1)[:, None]
        return -T*log_partition(torch.where(inside, E, math.inf), T)
    """,
    "free_energy": """
        if p is None:
            return -T*log_partition(E, T)
        return mean_energy(E, T, p) - T*entropy(p)
    """,
    "build_hopfield_weights": """
        xi = args.stack("patterns", patterns)
        W = xi.T @ xi / xi.shape[1]
        W.fill_diagonal_(0)
        return W
    """,
    "hopfield_energy": """
        return -0.5 * ((state @ W) * state).sum(-1)
    """,
    "energy_change": """
        return 2 * state[..., i] * (state @ W[i] - W[i, i] * state[..., i])
    """,
    "async_step": """
        new = state.clone()
        new[..., i] = torch.where(state @ W[i] >= -tie_width(W[i]), 1.0, -1.0)
        return new
    """,
    "overlaps": """
        xi = args.stack("patterns", patterns)
        return state @ xi.T / xi.shape[1]
    """,
    "pattern_field": """
        xi = args.stack("patterns", patterns)
        return (state @ xi.T) @ xi / xi.shape[1] - len(xi) / xi.shape[1] * state
    """,
    "bit_error": """
        return 0.5 * torch.erfc(1 / torch.sqrt(2 * load))
    """,
    "ags_load": """
        return 0.5 * (torch.erf(t) / t - 2 / math.sqrt(math.pi) * torch.exp(-t**2)) ** 2
    """,
    "spin_threshold": """
        return T / 2 * torch.logit(u)
    """,
    "extrapolate": """
        x = sizes.double() ** -power
        A = torch.stack([torch.ones_like(x), x], 1) / errors.double()[:, None]
        cov = torch.linalg.inv(A.T @ A)
        fit = cov @ A.T @ (values / errors).double()
        return fit[0].item(), cov[0, 0].sqrt().item()
    """,
    "pseudo_inverse_weights": """
        return (torch.linalg.pinv(patterns) @ patterns).fill_diagonal_(0)
    """,
    "unlearn": """
        return (W - rate / len(W) * dreams.T @ dreams).fill_diagonal_(0)
    """,
    "spin_up_probability": """
        return torch.sigmoid(2*h/T)
    """,
    "detailed_balance_gap": """
        flow = p[:, None] * P
        return (flow - flow.T).abs().max()
    """,
    "metropolis_probability": """
        return (-dE/T).clamp(max=0).exp()
    """,
    "heat_bath_sweep": """
        state = state.clone()
        for i in range(len(W)):
            up = torch.rand(len(state), generator=generator) < torch.sigmoid(2 * (state @ W[:, i]) / T)
            state[:, i] = torch.where(up, 1.0, -1.0)
        return state
    """,
    "cooling_schedule": """
        if kind == 'linear':
            return torch.linspace(T_start, T_end, n)
        return torch.linspace(math.log(T_start), math.log(T_end), n).exp()
    """,
    "swap_probability": """
        return ((1/T1 - 1/T2) * (E1 - E2)).clamp(max=0).exp()
    """,
    "learning_gradient": """
        def pairs(s, p):
            return (p[:, None] * s).T @ s
        dW = pairs(clamped, p_clamped) - pairs(free, p_free)
        return dW.fill_diagonal_(0), p_clamped @ clamped - p_free @ free
    """,
    "rbm_energy": """
        return -(v @ a) - h @ b - ((v @ W) * h).sum(-1)
    """,
    "block_gibbs": """
        for _ in range(k):
            h = torch.bernoulli(torch.sigmoid(v @ W + b), generator=generator)
            v = torch.bernoulli(torch.sigmoid(h @ W.T + a), generator=generator)
        return v
    """,
    "rbm_free_energy": """
        return -(v @ a) - F.softplus(v @ W + b).sum(-1)
    """,
    "rbm_log_partition": """
        if len(b) < len(a):
            W, a, b = W.T, b, a
        return torch.logsumexp(-rbm_free_energy(all_states(len(a), W.dtype), W, a, b), 0)
    """,
    "cd_gradient": """
        p, q = torch.sigmoid(v_data @ W + b), torch.sigmoid(v_model @ W + b)
        dW = v_data.T @ p / len(p) - v_model.T @ q / len(q)
        return dW, v_data.mean(0) - v_model.mean(0), p.mean(0) - q.mean(0)
    """,
    "ais_increment": """
        x = v @ W + b
        return (next_beta - beta) * (v @ (a - a0)) + (F.softplus(next_beta * x) - F.softplus(beta * x)).sum(-1)
    """,
    "log_odds": """
        ones = v.sum(0) + 1
        return torch.log(ones / (len(v) + 2 - ones))
    """,
    "glorot_std": """
        return gain * math.sqrt(6 / (n_visible + n_hidden)) / math.sqrt(3)
    """,
    "free_energy_gap": """
        return (rbm.free_energy(held_out).mean() - rbm.free_energy(train).mean()).item()
    """,
    "pseudo_log_likelihood": """
        flipped, rows = v.clone(), torch.arange(len(v))
        flipped[rows, i] = 1 - v[rows, i]
        return v.shape[1] * F.logsigmoid(rbm.free_energy(flipped) - rbm.free_energy(v))
    """,
    "hidden_activity": """
        total = torch.zeros_like(rbm.b)
        for batch in v.split(batch_size):
            total += rbm.hidden_probability(batch).sum(0)
        return total / len(v)
    """,
    "training_flops": """
        return 2 * (2 * k + 3) * batch_size * n_visible * n_hidden
    """,
    "dense_energy": """
        m = state @ patterns.T
        return -torch.logsumexp(m, -1) if power == 'exp' else -(m**power).sum(-1)
    """,
    "modern_hopfield_energy": """
        E = x.square().sum(-1) / 2 - torch.logsumexp(beta * (x @ patterns.T), -1) / beta
        if constant:
            E = E + math.log(len(patterns)) / beta + patterns.square().sum(-1).max() / 2
        return E
    """,
    "modern_hopfield_update": """
        weights = torch.softmax(beta * (x @ patterns.T), dim=-1)
        return weights @ patterns, weights
    """,
    "effective_patterns": """
        return 1 / weights.square().sum(-1)
    """,
    "sparsemax": """
        ordered = scores.sort(-1, descending=True).values
        k = torch.arange(1, scores.shape[-1] + 1)
        taus = (ordered.cumsum(-1) - 1) / k
        n = (ordered > taus).sum(-1, keepdim=True)
        return (scores - taus.gather(-1, n - 1)).clamp(min=0)
    """,
    "split_heads": """
        return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)
    """,
    "attention_free_energy": """
        return -(p * scores).sum(-1) - torch.special.entr(p).sum(-1) / beta
    """,
    "max_entropy_weights": """
        s = beta * scores
        if alpha == 1:
            return s.softmax(-1)
        high = s.amax(-1, keepdim=True)
        low = high - 1/(alpha - 1)
        def shares(tau):
            return ((alpha - 1)*(s - tau)).clamp(min=0) ** (1/(alpha - 1))
        for _ in range(60):
            mid = (low + high)/2
            cheap = shares(mid).sum(-1, keepdim=True) > 1
            low, high = torch.where(cheap, mid, low), torch.where(cheap, high, mid)
        p = shares((low + high)/2)
        return p / p.sum(-1, keepdim=True)
    """,
    "hamming_distances": """
        return (x.shape[-1] - x @ y.T) / 2
    """,
    "circle_intersection": """
        ways = 0
        for a in range(v + 1):
            for c in range(n - v + 1):
                if max(a, v - a) + c <= d:
                    ways += math.comb(v, a) * math.comb(n - v, c)
        return ways
    """,
    "nadaraya_watson": """
        scores = -torch.cdist(query, keys)**2 / (2*bandwidth**2)
        return scores.softmax(-1) @ values
    """,
    "leave_one_out_error": """
        scores = -torch.cdist(keys, keys)**2 / (2*bandwidth**2)
        scores.fill_diagonal_(-torch.inf)
        return (scores.softmax(-1) @ values - values).square().mean()
    """,
    "acceptance_probability": """
        log_a = (E - E_new)/T + log_ratio
        return log_a.clamp(max=0).exp()
    """,
    "langevin_step": """
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return x - step_size*slope + (2*step_size*T)**0.5 * noise
    """,
    "mala_log_ratio": """
        eta = _per_chain(step_size)
        forth = (y - x + eta*slope).square().sum(-1)
        back = (x - y + eta*slope_y).square().sum(-1)
        return (forth - back)/(4*step_size*T)
    """,
    "autocorrelation": """
        n, x = x.shape[-1], x - x.mean(-1, keepdim=True)
        c = torch.stack([(x[..., :n-k]*x[..., k:]).sum(-1) for k in range(n_lags)], -1)
        return c/c[..., :1]
    """,
    "split_rhat": """
        m = x.shape[1]//2
        halves = torch.cat([x[:, :m], x[:, -m:]])
        W, B = halves.var(1).mean(), halves.mean(1).var()
        return (((m - 1)/m*W + B)/W).sqrt()
    """,
    "mixture_score": """
        log_f, variance = _components(x, weights, means, stds, sigma)
        a = log_f.softmax(-1) / variance
        return a @ means.to(x) - x * a.sum(-1, keepdim=True)
    """,
    "implicit_score_matching": """
        s, trace = score_trace(score, x)
        return (0.5 * (s**2).sum(-1) + trace).mean()
    """,
    "denoising_score_matching": """
        sigma = torch.as_tensor(sigma).expand(len(x))
        s = sigma[:, None]
        return (s * score(x + s * noise, sigma) + noise).square().sum(-1).mean()
    """,
    "reverse_step": """
        gap = sigma**2 - next_sigma**2
        return x + gap * s + next_sigma * math.sqrt(gap) / sigma * noise
    """,
    "info_nce": """
        return -(scores / temperature).log_softmax(-1).diagonal().mean()
    """,
    "variational_free_energy": """
        believed = q > 0
        return (q * (torch.where(believed, q, 1).log() - torch.where(believed, log_joint, 0))).sum(-1)
    """,
    "mixture_responsibilities": """
        return (log_density + weights.log()).softmax(-1)
    """,
    "gaussian_kl": """
        return (mean**2 + log_var.exp() - 1 - log_var).sum(-1) / 2
    """,
    "pc_drive": """
        return -error + slope * (error_next @ W)
    """,
    "risk_and_ambiguity": """
        outcomes = states @ A.T
        H = -torch.special.xlogy(A, A).sum(0)
        return (torch.special.xlogy(outcomes, outcomes) - outcomes * log_preference).sum(-1), states @ H
    """,
    "information_gain": """
        outcomes = states @ A.T
        H = -torch.special.xlogy(A, A).sum(0)
        return -torch.special.xlogy(outcomes, outcomes).sum(-1) - states @ H
    """,
    "HopfieldAttention": """
        q, k, v, mask = self._enter(query, key, value, key_padding_mask, attn_mask, is_causal)
        q, k, v = (split_heads(x, self.num_heads) for x in (q, k, v))
        for _ in range(self.n_steps - 1):
            q, _ = self._step(q, k, k, mask)
        out, weights = self._step(q, k, v, mask, True, need_weights)
        out = self.out_proj(join_heads(out))
        return self._leave(out, weights, query, average_attn_weights)
    """,
}
