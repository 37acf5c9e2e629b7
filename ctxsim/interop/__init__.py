"""To and from the tools around: command lines of serving engines, results of benchmarks."""

from ctxsim.interop.exporting import Exported, export_command
from ctxsim.interop.importing import Imported, import_command
from ctxsim.interop.scenario_text import scenario_text

__all__ = ["Exported", "Imported", "export_command", "import_command", "scenario_text"]
