"""No input gives a traceback: any tree of values is a scenario or a SpecError."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ctxsim.errors import SpecError
from ctxsim.spec import catalog
from ctxsim.spec.document import Document, parse_document
from ctxsim.spec.scenario import resolve_scenario

KEYS = [
    "name",
    "model",
    "hardware",
    "host",
    "fidelity",
    "deployment",
    "serving",
    "techniques",
    "workload",
    "slo",
    "price",
]
KEYS += ["run", "kind", "users", "arrival", "rate", "document_tokens", "rounds", "question_tokens", "answer_tokens"]
KEYS += ["think_time", "prompt_tokens", "output_tokens", "num_requests", "trace", "format", "mean", "p95", "min", "max"]
KEYS += ["tensor_parallel", "max_model_len", "ttft", "warmup", "horizon", "accelerator", "activation_peak", "<a>", "é"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["sessions", "requests", "trace", "poisson", "closed", "lognormal", "uniform", "constant"])
    | st.sampled_from(["paper-34b", "paper-a100", "80 GiB", "60 s", "2 /s", "peak", "mooncake", "auto", "/", "a/b"])
    | st.sampled_from(["nan GB", "-1 s", "2 GBps", "../x.yaml", "\0", "\ud83d", "x.json", 10**400, -(2**70)])
)
TREES = st.recursive(
    SCALARS,
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.sampled_from(KEYS), child, max_size=6),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=8))
def test_any_tree_is_a_scenario_or_a_spec_error(data):
    assert_scenario_or_spec_error(data)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from(KEYS), TREES), min_size=1, max_size=3),
    st.sampled_from(catalog.names("scenario")),
)
def test_any_damage_to_a_good_scenario_is_a_scenario_or_a_spec_error(damage, name):
    document = parse_document(catalog.find("scenario", name).read_text(), f"scenarios/{name}.yaml")
    data = dict(document.data)
    for depth, key, tree in damage:
        inner = [k for k, v in data.items() if isinstance(v, dict)]
        if depth and inner:
            place = inner[len(key) % len(inner)]
            data[place] = {**data[place], key: tree}
        else:
            data[key] = tree
    assert_scenario_or_spec_error(data)


def assert_scenario_or_spec_error(data):
    try:
        scenario = resolve_scenario(Document("s.yaml", data))
    except SpecError as error:
        text = str(error)
        assert error.faults  # noqa: PT017
        text.encode()
    else:
        assert scenario.to_yaml()
