"""Reading a configuration: YAML, `--set`, the DHRD documents' names, and errors that name the mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dhrd.config import RunConfig, load_config, resolve
from dhrd.config.load import setting_names
from dhrd.errors import ConfigError
from dhrd.experiments.study import BEST_SETTINGS

WriteYaml = Callable[[str], Path]


@pytest.fixture
def write_yaml(tmp_path: Path) -> WriteYaml:
    def write(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def error_of(tree: dict[object, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(tree)  # type: ignore[arg-type]
    return str(caught.value)


def test_nothing_given_is_the_defaults(write_yaml: WriteYaml) -> None:
    assert load_config() == RunConfig()
    assert load_config(write_yaml("")) == RunConfig()
    assert load_config(write_yaml("# nothing but a comment\n")) == RunConfig()


def test_file_then_set_then_keywords(write_yaml: WriteYaml) -> None:
    path = write_yaml("training:\n  num_epochs: 5\n  batch_size: 4\nseed: 1\n")
    config = load_config(path, ["training.batch_size=2", "training.num_epochs=6", "seed=2"], training__num_epochs=7)
    assert (config.training.num_epochs, config.training.batch_size, config.seed) == (7, 2, 2)


def test_set_takes_any_yaml_value_and_null() -> None:
    config = load_config(
        overrides=[
            "training.clip_norm=null",
            "training.head_learning_rate=",
            "training.learning_rate=1e-4",
            "data.labels=[no, 'yes', maybe]".replace("no,", "'no',"),
            "data.columns.label=stars",
            "data.columns={label: stars, input_text: review}",
            "model.lora.r=4",
            "model.name_or_path=dir/a=b",
        ]
    )
    assert config.training.clip_norm is None
    assert config.training.head_learning_rate is None
    assert config.training.learning_rate == 1e-4
    assert config.data.labels == ("no", "yes", "maybe")
    assert config.data.columns == {"label": "stars", "input_text": "review"}
    assert config.model.lora is not None
    assert config.model.lora.r == 4
    assert config.model.name_or_path == "dir/a=b"


def test_null_takes_a_section_that_the_file_gave_away(write_yaml: WriteYaml) -> None:
    path = write_yaml("model:\n  lora: {r: 4}\n")
    assert load_config(path).model.lora is not None
    assert load_config(path, ["model.lora=null"]).model.lora is None


def test_a_base_is_changed_where_there_is_no_file(write_yaml: WriteYaml) -> None:
    base = resolve({"model": {"lora": True, "loss_weight_alpha": 0.75}, "seed": 3})
    assert load_config(base=base) == base
    config = load_config(base=base, overrides=["seed=4"], training__num_epochs=1)
    assert config == resolve(
        {"model": {"lora": True, "loss_weight_alpha": 0.75}, "seed": 4, "training": {"num_epochs": 1}}
    )
    assert load_config(write_yaml("seed: 5\n"), base=base) == resolve({"seed": 5}), "a file replaces it"
    keyed = load_config(teacher__extra_headers={"api-key": "x"})
    assert load_config(base=keyed, teacher__max_tokens=400).teacher.extra_headers == {"api-key": "x"}


def test_a_field_of_lora_after_true_keeps_lora() -> None:
    lora = load_config(overrides=["model.lora=true", "model.lora.r=8"]).model.lora
    assert lora is not None
    assert (lora.r, lora.alpha) == (8, 32)


@pytest.mark.parametrize("text", ["5e-5", "5E-5", "5.0e-5", "+5e-5", ".5e-4", "0.00005"])
def test_a_number_with_an_exponent_is_a_float(write_yaml: WriteYaml, text: str) -> None:
    for config in (
        load_config(write_yaml(f"training:\n  learning_rate: {text}\n")),
        load_config(overrides=[f"training.learning_rate={text}"]),
    ):
        assert config.training.learning_rate == pytest.approx(5e-5, rel=1e-12)


def test_text_that_only_looks_like_an_exponent_stays_text() -> None:
    assert load_config(overrides=["tracking.run_name=e5-small"]).tracking.run_name == "e5-small"
    assert load_config(overrides=["tracking.run_name='1e5'"]).tracking.run_name == "1e5"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("training.num_epoch", "training.num_epochs"),
        ("loss.lm_targts", "loss.lm_targets"),
        ("model.lora.alfa", "model.lora.alpha"),
        ("data.input_tempalte", "data.input_template"),
        ("traning.num_epochs", "training"),
        ("epochs", "training.num_epochs"),
        # right name, wrong section
        ("training.dropout", "model.dropout"),
        ("model.learning_rate", "training.learning_rate"),
        ("loss.dev_share", "data.dev_share"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_known_one(given: str, meant: str) -> None:
    with pytest.raises(ConfigError, match="unknown setting") as caught:
        load_config(overrides=[f"{given}=1"])
    assert str(caught.value).endswith(f"did you mean {meant}?")


def test_an_unknown_setting_like_no_other_gets_the_list() -> None:
    message = error_of({"loss": {"xyzzy": 1}})
    assert "loss.xyzzy: unknown setting; known are loss.classification_weight, loss.reasoning_weight" in message


def test_all_errors_are_reported_at_once() -> None:
    message = error_of(
        {
            "modell": {},
            "model": {"dropout": 3, "hed": "mlp", "loss_weight_alpha": 2},
            "data": {"batch_size": 4, "labels": ["one"]},
            "training": {"num_epochs": 0, "batch_size": 8, "schedule": "square"},
        }
    )
    for part in (
        "modell: unknown setting; did you mean model?",
        "model.dropout: input should be less than 1, got 3",
        "model.hed: unknown setting; did you mean model.head?",
        "model.loss_weight_alpha: a number from 0 to 1, got 2",
        "data.batch_size and training.batch_size are the same setting; give one of them",
        "data.labels: needs at least two different names, got ['one']",
        "training.num_epochs: input should be greater than or equal to 1, got 0",
        "training.schedule: input should be 'linear', 'cosine' or 'constant', got 'square'",
    ):
        assert f"the settings: {part}" in message.splitlines()


def test_a_wrong_union_names_the_setting_and_not_its_types() -> None:
    assert "[" not in error_of({"loss": {"class_weights": 1}}).replace("[]", "")


def test_the_documents_file_loads_as_it_is(repository: Path) -> None:
    config = load_config(repository / "configs" / "dhrd_config.yaml")
    assert config.model.name_or_path == "gpt2"
    assert config.model.num_labels == 2
    assert config.model.dropout == 0.1
    assert (config.loss.classification_weight, config.loss.reasoning_weight) == (0.5, 0.5)
    assert (config.data.train, config.data.validation) == ("data/train.json", "data/eval.json")
    assert config.training.batch_size == 8
    assert (config.data.max_input_tokens, config.data.max_sequence_tokens) == (512, 1024)
    assert (config.training.num_epochs, config.training.learning_rate) == (3, 5e-5)


def test_the_documents_alpha_is_the_weight_of_the_classification_loss() -> None:
    loss = resolve({"model": {"loss_weight_alpha": 0.75}}).loss
    assert (loss.classification_weight, loss.reasoning_weight) == (0.75, 0.25)
    assert load_config(overrides=["model.loss_weight_alpha=1"]).loss.reasoning_weight == 0


@pytest.mark.parametrize("name", ["classification_weight", "reasoning_weight"])
def test_both_forms_of_the_weights_clash(name: str) -> None:
    message = error_of({"model": {"loss_weight_alpha": 0.5}, "loss": {name: 0.5}})
    assert "model.loss_weight_alpha sets both weights of the loss; give it or loss.*_weight, not both" in message


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), "0.5", True, None])
def test_an_alpha_that_is_no_share_is_refused(alpha: object) -> None:
    assert "model.loss_weight_alpha: a number from 0 to 1" in error_of({"model": {"loss_weight_alpha": alpha}})


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("model.dropout_prob", "model.dropout", 0.2),
        ("data.train_file", "data.train", "a.json"),
        ("data.eval_file", "data.validation", "a.json"),
        ("data.batch_size", "training.batch_size", 2),
        ("data.max_input_length", "data.max_input_tokens", 64),
        ("data.max_rationale_length", "data.max_sequence_tokens", 2048),
    ],
)
def test_a_name_of_the_documents_is_the_same_setting(old: str, new: str, value: object) -> None:
    config = load_config(overrides=[f"{old}={value}"])
    assert config == load_config(overrides=[f"{new}={value}"])
    assert config != RunConfig()
    both: dict[str, dict[str, object]] = {}
    for section, _, key in (name.partition(".") for name in (old, new)):
        both.setdefault(section, {})[key] = value
    assert f"{old} and {new} are the same setting" in error_of(both)


@pytest.mark.parametrize("name", ["data.batch_size", "training.batch_size"])
def test_an_override_wins_over_the_file_under_either_name(write_yaml: Callable[[str], Path], name: str) -> None:
    for text in ("data: {batch_size: 2}", "training: {batch_size: 2}"):
        assert load_config(write_yaml(text), [f"{name}=4"]).training.batch_size == 4
        assert load_config(write_yaml(text), training__batch_size=5).training.batch_size == 5


def test_an_override_of_one_weight_keeps_the_other_of_the_files_alpha(write_yaml: Callable[[str], Path]) -> None:
    path = write_yaml("model: {loss_weight_alpha: 0.25}")
    loss = load_config(path, ["loss.reasoning_weight=0"]).loss
    assert (loss.classification_weight, loss.reasoning_weight) == (0.25, 0)
    loss = load_config(path, ["model.loss_weight_alpha=0.5"]).loss
    assert (loss.classification_weight, loss.reasoning_weight) == (0.5, 0.5)
    path = write_yaml("loss: {reasoning_weight: 3}")
    loss = load_config(path, ["model.loss_weight_alpha=1"]).loss
    assert (loss.classification_weight, loss.reasoning_weight) == (1, 0)


def test_the_given_mapping_is_left_as_it_was() -> None:
    tree = {"model": {"loss_weight_alpha": 0.5}, "data": {"batch_size": 2}, "training": {"seed": 1}}
    with pytest.raises(ConfigError):
        resolve(tree)
    assert tree == {"model": {"loss_weight_alpha": 0.5}, "data": {"batch_size": 2}, "training": {"seed": 1}}


def test_a_key_given_twice_is_an_error_with_its_line(write_yaml: WriteYaml) -> None:
    path = write_yaml("model:\n  dropout: 0.1\n  head: mlp\n  dropout: 0.2\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}:4: not valid YAML: the key 'dropout' is given twice"


def test_anchors_and_merge_keys_work(write_yaml: WriteYaml) -> None:
    path = write_yaml("model:\n  lora: &adapter {r: 4, alpha: 8}\n")
    assert load_config(path).model.lora is not None
    path = write_yaml("model:\n  lora: {<<: {r: 4, alpha: 8}, alpha: 2}\n")
    lora = load_config(path).model.lora
    assert lora is not None
    assert (lora.r, lora.alpha) == (4, 2)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model:\n  head: [mlp\n", 3),
        ("model:\n\thead: mlp\n", 2),
        ("data:\n  input_template: {{ input_text }}\n", 2),
        ("model: !!python/object/apply:os.getcwd []\n", 1),
    ],
)
def test_what_is_not_yaml_is_an_error_with_its_line(write_yaml: WriteYaml, text: str, line: int) -> None:
    path = write_yaml(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}:{line}: not valid YAML: ")


def test_a_file_that_is_no_mapping_or_not_there(write_yaml: WriteYaml, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a config is a mapping of sections .* not a list"):
        load_config(write_yaml("- model\n"))
    with pytest.raises(ConfigError, match=r"missing\.yaml: no such config file"):
        load_config(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"output_dir: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot be read"):
        load_config(tmp_path / "latin.yaml")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(write_yaml("output_dir: 2024-13-45\n"))


def test_a_section_given_as_a_value_is_not_silently_replaced(write_yaml: WriteYaml) -> None:
    with pytest.raises(ConfigError, match=r"data.train: data is not a section of settings here, but 'rows.json'"):
        load_config(write_yaml("data: rows.json\n"), ["data.train=other.json"])
    message = error_of({"training": 3, "data": {"batch_size": 8}, "loss": "both", "model": {"loss_weight_alpha": 0.5}})
    assert "training: input should be a valid dictionary" in message
    assert "loss: input should be a valid dictionary" in message


@pytest.mark.parametrize("text", ["training.num_epochs", "=3", "  =3", ""])
def test_a_set_without_name_or_value_shows_the_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write it as section\.key=value"):
        load_config(overrides=[text])


@pytest.mark.parametrize("value", ["{{ input_text }}", "{{ a }} => {{ b }}", "{{a}}: {{ b }}"])
def test_a_template_is_text_without_quotes(value: str) -> None:
    assert load_config(overrides=[f"data.input_template={value}"]).data.input_template == value


@pytest.mark.parametrize("value", ["[1, 2", "2024-13-45"])
def test_a_set_value_that_is_not_yaml_says_to_quote_it(value: str) -> None:
    with pytest.raises(ConfigError, match="the value is not valid YAML; put quotes around text"):
        load_config(overrides=[f"data.input_template={value}"])
    assert load_config(overrides=[f"data.input_template='{value}'"]).data.input_template == value


def test_errors_name_their_source(write_yaml: WriteYaml) -> None:
    path = write_yaml("seed: x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: seed: ")
    assert error_of({1: 2}).startswith("the settings: 1: ")


def test_every_setting_can_be_set_to_what_config_show_prints() -> None:
    config = resolve({"data": {"dev_share": 0.25, "labels": ["no", "yes"]}, "training": {"learning_rate": 1e-05}})
    printed = config.model_dump(mode="json")
    leaves = {
        f"{section}.{name}" if isinstance(inner, dict) else section: value
        for section, inner in printed.items()
        for name, value in (inner if isinstance(inner, dict) else {"": inner}).items()
    }
    unprinted = 7  # sections, and extra_headers, which may hold secrets
    assert len(leaves) == len([name for name in setting_names() if not name.startswith("model.lora.")]) - unprinted
    assert load_config(overrides=[f"{name}={json.dumps(value)}" for name, value in leaves.items()]) == config


def test_every_preset_loads(repository: Path) -> None:
    presets = sorted((repository / "configs").glob("*.yaml"))
    assert {path.stem for path in presets} >= {"cb", "dhrd_config", "esnli", "natural", "natural_esnli", "paper"}
    for path in presets:
        assert load_config(path).model.name_or_path, path


def test_dhrd_plus_is_the_setting_that_the_study_chose(repository: Path) -> None:
    chosen = load_config(**{name.replace(".", "__"): value for name, value in BEST_SETTINGS.items()})
    assert load_config(repository / "configs" / "dhrd_plus.yaml").loss == chosen.loss
