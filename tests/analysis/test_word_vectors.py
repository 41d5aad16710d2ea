"""Planes of words with known answers: turned copies, exact shares, and who is next to whom."""

import numpy as np

from catdog_jax.analysis.word_vectors import nearest_words, neighbour_overlap, word_planes


def turned(points, angle, mirror=1.0):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn * np.array([1.0, mirror])


def test_turned_and_mirrored_words_are_drawn_alike():
    points = np.random.default_rng(0).normal(size=(20, 2)) * [3.0, 1.0]
    vectors = np.stack([points, turned(points, 2.0), turned(points, 0.7, -1.0) + 5.0])
    planes, explained = word_planes(vectors.astype(np.float32))
    for member in (1, 2):
        np.testing.assert_allclose(planes[member], planes[0], atol=1e-5)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    drawn = planes[0]
    np.testing.assert_allclose(
        np.linalg.norm(drawn[:, None] - drawn[None], axis=-1), apart, atol=1e-5
    )
    np.testing.assert_allclose(explained.sum(axis=1), 1.0)


def test_the_plane_is_that_of_the_largest_variance():
    vectors = np.zeros((1, 4, 5), np.float32)
    vectors[0, :, 3] = [3, -3, 0, 0]
    vectors[0, :, 1] = [0, 0, 2, -2]
    planes, explained = word_planes(vectors)
    np.testing.assert_allclose(explained[0], [18 / 26, 8 / 26])
    np.testing.assert_allclose(np.abs(planes[0]), [[3, 0], [3, 0], [0, 2], [0, 2]], atol=1e-12)


def test_words_that_are_all_alike_lie_on_one_point():
    planes, explained = word_planes(np.ones((2, 4, 3), np.float32))
    np.testing.assert_array_equal(planes, 0)
    np.testing.assert_array_equal(explained, 0)


def test_nearest_words_go_by_direction():
    vectors = np.array([[1.0, 0.0], [10.0, 1.0], [0.0, 1.0], [-1.0, 0.0], [0.1, 2.0]])
    np.testing.assert_array_equal(
        nearest_words(vectors, 2), [[1, 4], [0, 4], [4, 1], [2, 4], [2, 1]]
    )
    np.testing.assert_array_equal(nearest_words(np.zeros((3, 2)), 1), [[1], [0], [0]])


def test_overlap_counts_what_is_shared():
    nearest = np.array([[[1, 2], [2, 3]], [[2, 1], [0, 3]], [[4, 5], [4, 5]]])
    np.testing.assert_allclose(neighbour_overlap(nearest), [[1, 0.75, 0], [0.75, 1, 0], [0, 0, 1]])
