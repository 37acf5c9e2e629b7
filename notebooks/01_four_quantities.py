# %% [markdown]
# # The four quantities
#
# Concurrency is bound by HBM size, prefill by FLOP/s, decode by HBM bandwidth, context switching by the host link: the
# running example of arXiv 2405.08944, a 34B model at 50,000 tokens on A100, in closed form.

# %%
import ctxsim

scenario = ctxsim.load("yi-34b-50k-a100")
analysis = ctxsim.analyze(scenario)
analysis

# %% [markdown]
# How they move with the length of the context. Concurrency falls as 1 / length, prefill grows with its square.

# %%
lengths = [4_000, 16_000, 50_000, 100_000, 190_000]
by_length = ctxsim.sweep(scenario, {"workload.document_tokens": lengths}, by="analyze")
by_length.frame[["workload.document_tokens", "concurrent_sessions", "prefill_s", "decode_step_s", "switch_s"]]

# %%
figure, axes = by_length.plot.line("prefill_s")
figure

# %% [markdown]
# What follows which number of the machine: elasticities, in closed form.

# %%
ctxsim.sensitivity(scenario).plot.tornado()[0]
