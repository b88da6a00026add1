"Specs of the fixture notebook; found through SILEN_CHECKS=fixture_checks."
