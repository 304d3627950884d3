"""Models and data sets of Hugging Face by name: here of folders, so that no network is needed."""

import json
import sys

import pytest
import torch

import sparsescape as ss
from helpers import bits
from sparsescape.data import as_examples
from sparsescape.points import named_weights
from sparsescape.problems.catalogue import absolute, describe, load

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "the", "a", "very")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A folder with a tiny BERT and a tiny GPT-2 without weights, and two data sets."""
    pytest.importorskip("datasets")
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("hub")
    (root / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    size = {"vocab_size": len(WORDS)}
    bert = transformers.BertConfig(
        **size, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    gpt = transformers.GPT2Config(**size, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    for name, config in (("bert", bert), ("gpt", gpt)):
        config.save_pretrained(root / name)
        words = {word: number for number, word in enumerate(WORDS)}
        transformers.BertTokenizer(words).save_pretrained(root / name)
    rows = [("the film a very good film", 1), ("a bad film", 0)] * 8
    for split, count in (("train", 16), ("validation", 4)):
        reviews, texts = root / "reviews", root / "texts"
        for folder in (reviews, texts):
            folder.mkdir(exist_ok=True)
        lines = [json.dumps({"sentence": s, "label": y}) for s, y in rows[:count]]
        (reviews / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        lines = [json.dumps({"text": s}) for s, _ in rows[:count]]
        (texts / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return root


@pytest.fixture
def named(hub, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return lambda model, data: f"hf:{hub / model}:{hub / data}"


def test_a_classifier_is_made_of_a_column_of_labels(named):
    problem = load(named("bert", "reviews"), steps=3)
    problem.check()
    assert (problem.count("train"), problem.count("test")) == (16, 4)
    inputs, targets = next(iter(as_examples(problem.train)))
    assert targets.tolist() == [1, 0] * 8
    assert inputs.shape == (16, 3, 128)  # tokens, kinds of tokens, attention mask
    model = problem.make_model(0)
    assert bits(model) == bits(problem.make_model(0)) != bits(problem.make_model(1))
    assert model(inputs).shape == (16, 2)
    sparse = named_weights(model, problem.dense)
    assert not any("embedding" in name for name in sparse)
    assert any("attention" in name for name in sparse)


def test_a_language_model_is_made_of_text_alone(named):
    problem = load(named("gpt", "texts"), steps=3)
    problem.check()
    inputs, targets = next(iter(as_examples(problem.train)))
    assert inputs.shape[1] == 16
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    model = problem.make_model(0)
    loss = problem.objective(model)(model)
    assert loss == pytest.approx(torch.tensor(float(len(WORDS))).log().item(), rel=0.1)
    assert "model.transformer.wte.weight" in problem.dense


def test_trained_weights_are_taken_where_there_are_some(named, hub, tmp_path):
    import transformers

    config = transformers.AutoConfig.from_pretrained(hub / "bert", num_labels=2)
    trained = transformers.AutoModelForSequenceClassification.from_config(config)
    trained.save_pretrained(tmp_path / "trained")
    for file in (hub / "bert").glob("*token*"):
        (tmp_path / "trained" / file.name).write_bytes(file.read_bytes())
    problem = load(f"hf:{tmp_path / 'trained'}:{hub / 'reviews'}")
    assert bits(problem.make_model(3).model) == bits(trained)


def test_it_is_described_by_its_name_and_its_recipe(named):
    described = describe(named("bert", "reviews"))
    assert json.loads(json.dumps(described)) == described
    assert described["recipe"]["optimizer"] == "adamw"


def test_what_cannot_be_had_is_said_in_a_sentence(named, hub):
    with pytest.raises(ss.InputError, match=r"The data set .* cannot be loaded") as caught:
        load(named("bert", "nowhere"))
    assert "\n" not in str(caught.value)
    with pytest.raises(ss.InputError, match=r"tokenizer of .* cannot be loaded"):
        load(named("nowhere", "reviews"))


@pytest.mark.parametrize("name", ["hf:", "hf:model", "hf:model:", "hf::data", "hf:a:b:c:d"])
def test_a_name_of_another_form_is_refused(name):
    with pytest.raises(ss.InputError, match="not of the form hf:MODEL:DATASET"):
        load(name)


@pytest.mark.parametrize("library", ["datasets", "transformers"])
def test_a_library_that_is_missing_is_named(library, monkeypatch):
    pytest.importorskip("datasets" if library == "transformers" else "transformers")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ss.InputError, match=rf"needs {library}: pip install 'sparsescape"):
        load("hf:model:data")


def test_folders_are_named_by_their_whole_paths_from_elsewhere(hub, monkeypatch):
    """As on the nodes of a cluster; a name of the hub and a configuration are no folders."""
    monkeypatch.chdir(hub)
    assert absolute("hf:bert:reviews:bert") == f"hf:{hub / 'bert'}:{hub / 'reviews'}:bert"
    assert absolute("hf:a/model:a/dataset") == "hf:a/model:a/dataset"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"sentence": "good", "label": -1}, r"whole numbers from 0 on: example 1 .*train has -1"),
        ({"sentence": "good", "label": None}, r"whole numbers from 0 on: example 1 .*has None"),
        ({"sentence": None, "label": 1}, "Example 1 of the data set has no text in 'sentence'"),
    ],
)
def test_an_example_that_lacks_its_label_or_its_text_is_named(named, tmp_path, row, said):
    for split in ("train", "validation"):
        lines = [json.dumps(one) for one in ({"sentence": "bad", "label": 0}, row)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ss.InputError, match=said):
        load(named("bert", tmp_path))


def test_labels_that_are_words_are_refused(named, tmp_path):
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text('{"sentence": "good", "label": "yes"}')
    with pytest.raises(ss.InputError, match=r"whole numbers from 0 on: example 0 .* has 'yes'"):
        load(named("bert", tmp_path))
