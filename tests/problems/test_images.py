"""Images in memory: what augmentation may do to them, and what it may not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsescape.problems.images import Images, crop_and_flip
from sparsescape.seeds import Draw

FILL = (0.2, 0.4, 0.6)


def numbered(count=3, height=5, width=4):
    """Images whose pixels say where they are."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([rows, columns, torch.full_like(rows, 7)], dim=-1).to(torch.uint8)
    return image.expand(count, -1, -1, -1).clone()


@given(st.integers(1, 3), st.integers(0, 200))
def test_every_image_is_a_crop_of_itself_perhaps_flipped(padding, step):
    pixels = numbered()
    fill = torch.tensor(FILL).mul(255).round().to(torch.uint8)
    around = fill.expand(3, 5 + 2 * padding, 4 + 2 * padding, 3).clone()
    around[:, padding:-padding, padding:-padding] = pixels
    found = crop_and_flip(pixels, padding, FILL, Draw(0, step))
    for image, whole in zip(found, around, strict=True):
        crops = [
            whole[top : top + 5, left : left + 4]
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
        ]
        assert any(torch.equal(image, c) or torch.equal(image, c.flip(1)) for c in crops)


def test_every_offset_and_both_directions_are_drawn_as_often():
    pixels = numbered(9 * 2 * 100, 4, 4)
    found = crop_and_flip(pixels, 1, (0.0, 0.0, 1.0), Draw(0, 0))
    inside = found[:, 1, 1:3]  # pixels that no crop pads
    flipped = inside[:, 0, 1] > inside[:, 1, 1]
    top = inside[:, 0, 0].long()
    left = torch.where(flipped, inside[:, 1, 1], inside[:, 0, 1]).long()
    counts = torch.bincount(left * 6 + top * 2 + flipped.long())
    assert (counts > 0).sum() == 18
    # 1800 draws of 18 kinds: 100 each, deviation 9.7. Five of them.
    assert (counts[counts > 0] - 100).abs().max() < 49


def images(**changes):
    settings = {"mean": FILL, "deviation": (0.5, 0.25, 0.125), "padding": 1}
    return Images(numbered(), torch.arange(3), **{**settings, **changes})


def test_inputs_are_standardized_and_keep_their_channels_last():
    inputs, targets = images().plain.draw(torch.tensor([2, 0]), Draw(0, 0))
    assert targets.tolist() == [2, 0]
    assert inputs.shape == (2, 3, 5, 4)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert inputs[0, 0, 3, 2].item() == pytest.approx((3 / 255 - 0.2) / 0.5)
    assert inputs[0, 2, 0, 0].item() == pytest.approx((7 / 255 - 0.6) / 0.125)


def test_what_is_padded_is_near_0():
    inputs, _ = images(padding=5).draw(torch.arange(3), Draw(0, 4))
    corner = torch.stack([abs(inputs[:, :, y, x]) for y in (0, -1) for x in (0, -1)])
    assert corner.amin(0).max() < 0.02


def test_evaluation_augments_nothing():
    whole = images()
    once, twice = (torch.cat([inputs for inputs, _ in whole]) for _ in range(2))
    assert torch.equal(once, twice)
    assert torch.equal(once[0], whole.plain.draw(torch.tensor([0]), Draw(5, 5))[0][0])
    assert not torch.equal(once, whole.draw(torch.arange(3), Draw(0, 0))[0])
