# %% [markdown]
# # What becomes of KV while its user thinks
#
# Kept in HBM, swapped to host memory, or computed again: twenty users, five questions each, a minute of thought between
# them, on two A100s.

# %%
import ctxsim

scenario = ctxsim.load("yi-34b-50k-a100", overrides={"run.horizon": "2 hours"})
policies = ctxsim.sweep(scenario, {"serving.residency": ["keep", "swap", "recompute", "cheapest"]})
policies.frame[["serving.residency", "sessions_per_hour", "ttft_p95_s", "swap_in_bytes", "cost_usd_per_session"]]

# %% [markdown]
# How long a session's KV is best kept where it is, before the next way costs less: closed form.

# %%
ctxsim.analyze(scenario).keys["gap"]["kept_until_s"]

# %% [markdown]
# One run in full: a row a request, and a row a copy.

# %%
simulation = ctxsim.simulate(scenario)
simulation.requests[["session", "turn", "ttft_s", "hbm_hit_tokens", "host_hit_tokens"]].head(10)

# %%
simulation.transfers.groupby(["source", "target"])["moved_bytes"].describe()

# %% [markdown]
# Where the money went.

# %%
simulation.summary["money"]["parts_usd"]
