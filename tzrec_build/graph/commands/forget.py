"""``doit forget``: doit's own, with clear errors."""

from __future__ import annotations

from doit.cmd_forget import Forget as DoitForget

from tzrec_build.graph.commands.options import OptionsAnywhere


class Forget(OptionsAnywhere, DoitForget):  # type: ignore[misc]
    """doit's `forget`, with words for what it means here."""

    doc_purpose = "drop the records of tasks, and their ignore marks"
    doc_description = (
        "The next build restores the tasks from the cache, or builds them. Without a name, all that bare `doit` builds."
    )
