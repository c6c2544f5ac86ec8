"""MMoE: shared experts, one gate and one tower for each task."""

from __future__ import annotations

from tzrec_build.data.batch import Batch
from tzrec_build.models.base import ModelContext
from tzrec_build.models.heads import Tensors
from tzrec_build.models.multi_task import MultiTaskModel
from tzrec_build.modules.mlp import MLPSpec
from tzrec_build.modules.mmoe import MMoE, MMoESpec


class MMoEModel(MultiTaskModel):
    """logits_t = TaskTower_t(MMoE_t(input)).

    Source: J. Ma et al., Modeling task relationships with multi-gate mixture-of-experts, KDD 2018.
    """

    def __init__(self, context: ModelContext) -> None:
        config = context.config.mmoe
        where = "model_config.mmoe"
        super().__init__(context, config.task_towers, where)
        gate = MLPSpec.from_config(config.gate_mlp, f"{where}.gate_mlp") if config.HasField("gate_mlp") else None
        expert = MLPSpec.from_config(config.expert_mlp, f"{where}.expert_mlp")
        num_task = len(config.task_towers)
        self.mmoe = MMoE(self.input_dim, MMoESpec(expert, gate, config.num_expert, num_task))
        self.add_task_towers([self.mmoe.output_dim] * num_task, config.task_towers, where)

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        return self.tower_outputs(self.mmoe(self.task_input(batch)))
