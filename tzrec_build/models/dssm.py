"""DSSM: a user tower and an item tower with tables of their own."""

from __future__ import annotations

from tzrec_build.models.base import ModelContext
from tzrec_build.models.match import MatchModel, MatchTower, check_similarity

_WHERE = "model_config.dssm"


class DSSM(MatchModel):
    """similarity = user . item / temperature, of unit vectors when the similarity is COSINE.

    Source: P. Huang et al., Learning deep structured semantic models for web search, CIKM 2013.
    """

    def __init__(self, context: ModelContext) -> None:
        config = context.config.dssm
        super().__init__(context, in_batch_negative=config.in_batch_negative, where=_WHERE)
        similarity = check_similarity(config.similarity, _WHERE)
        self.temperature = config.temperature
        self.user_tower = MatchTower(context, config.user_tower, config.output_dim, similarity, f"{_WHERE}.user_tower")
        self.item_tower = MatchTower(context, config.item_tower, config.output_dim, similarity, f"{_WHERE}.item_tower")
