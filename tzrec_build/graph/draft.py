"""The command, inputs and parameters of one task while the words of its rule are read."""

from __future__ import annotations

from collections.abc import Iterable

from tzrec_build.errors import ConfigError
from tzrec_build.graph.positions import Keys
from tzrec_build.graph.rule import Extras, Flags, Given, Made, Model, Out, Param, Runs, Switch
from tzrec_build.graph.scope import TABLE_FIELDS, Scope, keys_of
from tzrec_build.graph.spec import Input

# where [data] fingerprint holds: the tables that pipeline.toml names, beside those that the config names
TABLES = frozenset({*TABLE_FIELDS, "item.data", "item.input", "index.items", "hitrate.users"})


class Draft:
    """The command, inputs and parameters of one task while the words of its rule are read."""

    def __init__(self, scope: Scope, item: object, argv: list[str], extras: tuple[Made, ...] = ()) -> None:
        self.scope, self.item, self.argv, self.extras = scope, item, argv, extras
        self.inputs: list[Input] = []
        self.params: dict[str, object] = {}
        self.deps: dict[str, Keys] = {}  # task -> the keys of pipeline.toml that name it, () where a rule does

    def read(self, flags: Flags) -> None:
        """Read the flags of a rule."""
        for flag, word in flags:
            name = flag.removeprefix("--")
            match word:
                case str():
                    self.argv += [flag, word]
                case Switch():
                    self.argv.append(flag)
                case Out():
                    self.argv += [flag, f"{{out}}/{word.path}" if word.path else "{out}"]
                case Param():
                    self._read_param(flag, self.scope.value(word.field, self.item))
                case Made() | Given():
                    if self.add(name, word):
                        self.argv += [flag, f"{{inputs.{name}}}"]
                case Model():
                    self._read_model()
                case Runs() | Extras():
                    self._read_several(flag, word)

    def _read_several(self, flag: str, word: Runs | Extras) -> None:
        if isinstance(word, Extras):
            there = [one.path for one in self.extras if self.add(one.path.replace("/", "_").replace(".", "_"), one)]
            self._read_param(flag, tuple(there))
            return
        self.argv.append(flag)
        made = self.scope.made[self.scope.pipeline.name]
        for run in sorted(name for name in made if name.startswith("benchmark_run_")):
            self.add(run, Made(run))
            self.argv.append(f"{{inputs.{run}}}")

    def add(self, name: str, word: Made | Given) -> bool:
        """Add an input; False when it is optional and nothing gives it."""
        return self._add_made(name, word) if isinstance(word, Made) else self._add_given(name, word)

    def add_paths(self, name: str, texts: Iterable[str], keys: Keys, fingerprint: str = "content") -> None:
        """Add an input of path texts that pipeline.toml has under `keys`, and the tasks that make them."""
        places = [self.scope.place(text) for text in texts]
        for _, task in places:
            if task:
                self.deps.setdefault(task, keys)
        made = frozenset(path for path, task in places if task)
        paths = tuple(path for path, _ in places)
        source = self.scope.pipeline.source
        self.inputs.append(Input(name, paths, named_in=source, made=made, fingerprint=fingerprint))

    def _add_made(self, name: str, word: Made) -> bool:
        pipeline = self.scope.pipeline
        tasks = self.scope.made[pipeline.name]
        path = next((one for one in (word.path, *word.fallbacks) if one.partition("/")[0] in tasks), word.path)
        artifact = path.partition("/")[0]
        if artifact not in tasks:
            if word.optional:
                return False
            raise RuntimeError(f"bug: a rule of {pipeline.name} reads {artifact!r}, which no rule makes")
        self.deps.setdefault(tasks[artifact], ())
        path = f"{pipeline.build_dir}/{path}"
        self.inputs.append(Input(name, (path,), made=frozenset({path}), optional=word.optional))
        return True

    def _add_given(self, name: str, word: Given) -> bool:
        texts = self.scope.texts(word.field, self.item)
        if texts:
            fingerprint = self.scope.pipeline.data.fingerprint if word.field in TABLES else "content"
            self.add_paths(name, texts, keys_of(word.field, self.item), fingerprint)
        elif not word.optional:
            table, _, key = word.field.partition(".")
            raise ConfigError(
                f"{self.scope.pipeline.source}: [{table}] {key} is not set, nor does the config name such a table; set it"
            )
        return bool(texts)

    def _read_param(self, flag: str, value: object) -> None:
        name = flag.removeprefix("--")
        if value is True:
            self.argv.append(flag)
        elif value is not None and value is not False and value not in ("", ()):
            self.argv += [flag, f"{{params.{name}}}"]
            self.params[name] = ",".join(value) if isinstance(value, tuple) else value

    def _read_model(self) -> None:
        if self.scope.pipeline.checkpoint:
            self.read((("--checkpoint_path", Given("checkpoint")),))
        else:
            self.read((("--model_dir", Made("train")), ("--pick", Made("pick/checkpoint.json"))))

    def read_config_files(self, purpose: str) -> None:
        """Add the files that the config itself names and a tool with this purpose reads: vocabularies, sampler tables, checkpoints."""
        scope = self.scope
        for row in scope.facts.get("paths", ()):
            if purpose not in row["read_by"] or row["field"] in TABLE_FIELDS.values():
                continue
            task, edit = scope.edited.get(row["value"], ("", ""))
            paths = tuple(text for text in row["value"].split(",") if text)
            if task:
                self.deps.setdefault(task, ("config", "edit", edit))
            else:
                scope.check_own_paths(row["field"], paths)
            source = scope.pipeline.config.file if scope.pipeline.config else ""
            made = frozenset(paths if task else ())
            fingerprint = scope.pipeline.data.fingerprint if row["kind"] == "table" else "content"
            self.inputs.append(Input(row["field"], paths, named_in=source, made=made, fingerprint=fingerprint))
