"""The identity extractor and its ArcFace head."""

from __future__ import annotations

import math

import pytest
import torch

from mytalk_core.motion.identity import ArcFaceHead, IdentityConfig, IdentityExtractor, identity_similarity

SMALL = IdentityConfig(channels=10, landmark_layout="mesh478", width=32, hidden_layers=1, embedding=8)


def test_paper_size_with_head_is_table_9():
    with torch.device("meta"):
        modules = (IdentityExtractor(IdentityConfig()), ArcFaceHead(512, 1027))
    assert sum(p.numel() for module in modules for p in module.parameters()) == 4_310_272


def test_embedding_has_unit_norm_at_any_leading_shape():
    model = IdentityExtractor(SMALL)
    embedding = model(torch.randn(2, 3, 10))
    assert embedding.shape == (2, 3, 8)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(2, 3))
    torch.testing.assert_close(identity_similarity(embedding, embedding), torch.ones(2, 3))
    with pytest.raises(ValueError, match="reads 10 channels"):
        model(torch.randn(2, 9))


def test_margin_is_added_to_the_angle_of_the_person_only():
    head = ArcFaceHead(4, 3, margin=0.4, scale=10.0)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3, 4))
    angle = 0.7
    embedding = torch.tensor([[math.cos(angle), math.sin(angle), 0.0, 0.0]])
    plain, penalised = head.logits(embedding), head.logits(embedding, torch.tensor([0]))
    torch.testing.assert_close(plain[0, 0], torch.tensor(10 * math.cos(angle)))
    torch.testing.assert_close(penalised[0, 0], torch.tensor(10 * math.cos(angle + 0.4)))
    torch.testing.assert_close(penalised[0, 1:], plain[0, 1:])


def test_penalised_logit_falls_with_the_angle_all_the_way():
    head = ArcFaceHead(2, 1, margin=0.5, scale=1.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0]]))
    angles = torch.linspace(0.01, math.pi - 0.01, 200)
    embedding = torch.stack((angles.cos(), angles.sin()), dim=-1)
    logits = head.logits(embedding, torch.zeros(200, dtype=torch.int64))[:, 0]
    assert (logits.diff() < 0).all()


def test_training_separates_people():
    torch.manual_seed(0)
    model, head = IdentityExtractor(SMALL), ArcFaceHead(8, 4, scale=16.0)
    person = torch.arange(4).repeat(8)
    faces = torch.randn(4, 10)[person] + 0.2 * torch.randn(32, 10)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        head(model(faces), person).backward()
        optimizer.step()
    cosine = model(faces) @ model(faces).T
    same = person[:, None] == person[None, :]
    assert cosine[same].mean() - cosine[~same].mean() > 0.8
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in (*model.parameters(), head.weight))
