# %% [markdown]
# # A capacity plan
#
# Which fleet serves ten users of 50,000-token documents within 20 s to the first token and 100 ms a token? Closed form
# prunes, simulation decides.

# %%
import ctxsim

plan = ctxsim.plan(
    "yi-34b-50k-a100",
    users=10,
    accelerators=["h100-80gb-sxm", "h200-sxm"],
    tensor_parallel=[1, 2],
    max_accelerators=8,
)
plan

# %% [markdown]
# Every fleet that was simulated whole: price against latency, with the limits of the SLO.

# %%
figure, axes = plan.plot.front()
figure

# %% [markdown]
# One H200, the cheapest, under other settings, on the same draws.

# %%
settings = {"hardware": "h200-sxm", "deployment.tensor_parallel": 1, "workload.users": 10}
fleet = ctxsim.load("yi-34b-50k-a100", overrides=settings)
changes = ctxsim.whatif(fleet, ["serving.kv_dtype=fp8", "serving.residency=recompute"], replications=1)
changes.why

# %%
changes.frame
