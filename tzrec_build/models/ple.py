"""PLE: stacked extraction layers, then one tower for each task."""

from __future__ import annotations

from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.errors import ConfigError
from tzrec_build.models.base import ModelContext
from tzrec_build.models.heads import Tensors
from tzrec_build.models.multi_task import MultiTaskModel
from tzrec_build.modules.extraction_net import ExtractionNet

_WHERE = "model_config.ple"


class PLE(MultiTaskModel):
    """Every task and the shared experts start from the same input.

    Source: H. Tang et al., Progressive layered extraction, RecSys 2020.
    """

    def __init__(self, context: ModelContext) -> None:
        config = context.config.ple
        super().__init__(context, config.task_towers, _WHERE)
        networks = config.extraction_networks
        if not networks:
            raise ConfigError(f"{_WHERE}.extraction_networks: needs at least one layer, got none")
        self._num_task = len(config.task_towers)
        self._extraction_nets = nn.ModuleList()
        width = self.input_dim
        for index, network in enumerate(networks):
            where = f"{_WHERE}.extraction_networks[{index}]"
            net = ExtractionNet(width, self._num_task, network, last=index == len(networks) - 1, where=where)
            self._extraction_nets.append(net)
            width = net.output_dim
        self.add_task_towers([width] * self._num_task, config.task_towers, _WHERE)

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        shared = self.task_input(batch)
        tasks = [shared] * self._num_task
        for net in self._extraction_nets:
            tasks, shared = net(tasks, shared)
        return self.tower_outputs(tasks)
