"""The words never tell who ran: exactly, sentence by sentence; and no sentence comes twice."""

import numpy as np
import pytest

from catdog_jax.data import grammar, load_dataset, words
from catdog_jax.data.grammar import NUMBERS, ROLES, annotate
from catdog_jax.data.words import permuted
from catdog_jax.types import InputError

ID = grammar.ID


def tokens_of(sentence):
    ids = [ID[word] for word in sentence.split()]
    return np.array([ids + [0] * (grammar.LENGTH - len(ids))], np.int32)


@pytest.mark.parametrize("variant", range(grammar.NUM_VARIANTS))
def test_mirrors_have_the_same_words_and_the_other_answer(variant):
    code = np.random.default_rng(variant).integers(0, grammar.num_pairs(variant), 3000)
    both = [grammar.write(variant, code, np.full(code.size, side))[0] for side in (0, 1)]
    np.testing.assert_array_equal(*(np.sort(tokens, axis=1) for tokens in both))
    assert (both[0] != both[1]).any(axis=1).all()
    for side in (0, 1):
        np.testing.assert_array_equal(annotate(both[side]).chaser, side)


def test_every_part_is_balanced_and_no_sentence_comes_twice():
    data = load_dataset("words:num_train=3000:num_valid=200:num_test=600")
    parts = (data.train, data.valid, data.test)
    rows = [row.tobytes() for part in parts for row in part.inputs]
    assert len(set(rows)) == len(rows) == 3800
    for part in parts:
        bags = np.sort(part.inputs, axis=1)
        np.testing.assert_array_equal(bags[::2], bags[1::2])
        assert part.labels.tolist() == [0, 1] * (len(part.labels) // 2)
        assert part.inputs.dtype == np.int32
        np.testing.assert_array_equal(annotate(part.inputs).chaser, part.labels)
    counts = np.bincount(data.train.factors["construction"].astype(int))
    assert counts.tolist() == [500] * 6
    assert data.kind == "tokens"
    assert data.vocabulary[0] == ""
    assert data.provenance["fingerprint"].startswith("250fe7ad9e")  # golden


def test_a_sentence_is_a_function_of_seed_and_number():
    some, labels, factors = words.generate(100, seed=3, first=1000)
    one, label, factor = words.generate(1, seed=3, first=1042)
    np.testing.assert_array_equal(some[42], one[0])
    assert labels[42] == label[0]
    assert all(values[42] == factor[name][0] for name, values in factors.items())
    other = words.generate(100, seed=4, first=1000)[0]
    assert (some != other).any(axis=1).mean() > 0.9
    last = words.generate(2, seed=0, first=words.NUM_SENTENCES - 2)[0]
    assert (last > 0).sum() > 10


def test_factors_say_what_is_in_the_sentence():
    data = load_dataset("words:num_train=960:num_valid=2:num_test=2").train
    tokens, factors = data.inputs, data.factors
    found = annotate(tokens)
    classes = grammar.WORD_CLASSES
    agent = (found.role == ROLES.index("agent")).argmax(axis=1)
    patient = (found.role == ROLES.index("patient")).argmax(axis=1)
    rows = np.arange(len(tokens))
    plural = NUMBERS.index("plural")
    expected = {
        "passive": (tokens == ID["by"]).any(axis=1),
        "agent_first": agent < patient,
        "agent_plural": found.number[rows, agent] == plural,
        "patient_plural": found.number[rows, patient] == plural,
        "adjectives": (found.word_class == classes.index("adjective")).sum(axis=1),
        "words": (tokens > 0).sum(axis=1),
        "adverb": np.where(
            (found.word_class == classes.index("adverb")).any(axis=1),
            np.where(found.word_class[:, 0] == classes.index("adverb"), 1, 2),
            0,
        ),
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(factors[name], values, err_msg=name)
    places = np.isin(tokens, [ID[place] for place in grammar.PLACES]).sum(axis=1)
    resting = np.isin(tokens, [ID[verb] for verb in grammar.RESTING]).sum(axis=1)
    np.testing.assert_array_equal(factors["modifiers"], places + resting - factors["relative"])


def test_annotation_of_one_sentence():
    found = annotate(tokens_of("yesterday the hungry cats in Rome were chased by some black dogs"))
    assert [grammar.WORD_CLASSES[k][:3] for k in found.word_class[0]] == [
        "adv", "det", "adj", "nou", "pre", "nou", "aux", "ver", "pre", "det", "adj", "nou",
        "", "", "", "",
    ]  # fmt: skip
    assert found.number[0].tolist() == [0, 2, 2, 2, 0, 1, 2, 0, 0, 2, 2, 2, 0, 0, 0, 0]
    assert found.role[0].tolist() == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert found.chaser[0] == 1


def test_who_ran():
    for sentence in grammar.CONSTRUCTIONS.values():
        assert annotate(tokens_of(sentence)).chaser == 0
    for sentence, chaser in {
        "the cat chased the dog": 0,
        "a kitten that slept hunted some small hounds that waited": 0,
        "the cat that the small dog that slept chased jumped": 1,
        "the cat that slept that the dog chased jumped": 1,
        "the dogs that got followed by a tabby in Paris waited again": 0,
        "some terriers near Rome that pursued the tabbies waited": 1,
    }.items():
        assert annotate(tokens_of(sentence)).chaser == chaser


def test_permutations_are_bijections_and_look_random():
    for size in (1, 2, 3, 64, 4097):
        first = permuted(np.arange(size), size, seed=0, stream=0)
        assert sorted(first) == list(range(size))
    for change in ({"seed": 1, "stream": 0}, {"seed": 0, "stream": 1}):
        assert (first == permuted(np.arange(size), size, **change)).mean() < 0.01
    large = permuted(np.arange(1000), 2**62, seed=2, stream=0)
    assert len(set(large)) == 1000
    assert 0 <= large.min() <= large.max() < 2**62


@pytest.mark.parametrize(
    ("entry", "flags", "message"),
    [
        ("words:num_train=5", {}, "num_train=5 is not allowed: .* mirror; give an even"),
        ("words:num_valid=0", {}, "num_valid=0 is not allowed"),
        ("words:num_test=90000000", {}, "give a whole number ≥ 2 and ≤ 2709504"),
        ("words:seed=-1", {}, "seed=-1 is not allowed; give a whole number"),
        ("words", {"classes": ("dog", "cat")}, "cat,dog in this order; give those"),
        ("words", {"image_size": 32}, "sentences have no pixels"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(entry, flags, message):
    with pytest.raises(InputError, match=message) as error:
        load_dataset(entry, **flags)
    assert "\n" not in str(error.value)
