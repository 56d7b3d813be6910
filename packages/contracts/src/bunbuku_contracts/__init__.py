"""Typed, content-addressed manifests: the only thing the bunbuku stages share."""

from bunbuku_contracts.architecture import Architecture, Experts, GateOrder, RouterNormalization
from bunbuku_contracts.artifact import Artifact, load
from bunbuku_contracts.blends import Blend, BlendShare, BlendStage
from bunbuku_contracts.draft import Draft
from bunbuku_contracts.errors import ArtifactError, BunbukuError, ConfigError, RecipeDrift, Unfinished
from bunbuku_contracts.kinds import Checkpoint, Classifier, Corpus, Dialogues, Preferences, Report, Tokenizer, Tokens
from bunbuku_contracts.lineage import Node, lineage
from bunbuku_contracts.manifest import Config, File, Manifest, Recipe, Run, RunSettings, Spec
from bunbuku_contracts.models import complete_hf_folder, register_hf_models
from bunbuku_contracts.sections import Curve, Picture, Section, Table, read_sections, write_sections
from bunbuku_contracts.stage import Stage, View, stage, view

__all__ = [
    "Architecture",
    "Artifact",
    "ArtifactError",
    "Blend",
    "BlendShare",
    "BlendStage",
    "BunbukuError",
    "Checkpoint",
    "Classifier",
    "Config",
    "ConfigError",
    "Corpus",
    "Curve",
    "Dialogues",
    "Draft",
    "Experts",
    "File",
    "GateOrder",
    "Manifest",
    "Node",
    "Picture",
    "Preferences",
    "Recipe",
    "RecipeDrift",
    "Report",
    "RouterNormalization",
    "Run",
    "RunSettings",
    "Section",
    "Spec",
    "Stage",
    "Table",
    "Tokenizer",
    "Tokens",
    "Unfinished",
    "View",
    "complete_hf_folder",
    "lineage",
    "load",
    "read_sections",
    "register_hf_models",
    "stage",
    "view",
    "write_sections",
]
