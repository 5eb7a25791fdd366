// Judges HostFacts: a line a topic, with what to do about it. Pure.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cli/host_facts.h"

namespace gemel::cli {

enum class CheckState : std::uint8_t {
  kGood,
  kWarning,  // works, with less than could be
  kProblem,  // stands in the way of `scope`
};
enum class CheckScope : std::uint8_t { kRun, kCluster };

struct CheckLine {
  std::string name;
  CheckState state = CheckState::kGood;
  CheckScope scope = CheckScope::kRun;
  std::string summary;
  std::string advice;                // what to do about it; empty: nothing
  std::vector<std::string> details;  // sentences
};

struct HostReport {
  std::vector<CheckLine> lines;

  std::size_t Problems(CheckScope scope) const;
  bool fit_to_run() const { return Problems(CheckScope::kRun) == 0; }
  // A host that runs no VMs is no member of a cluster either.
  bool fit_for_cluster() const { return fit_to_run() && Problems(CheckScope::kCluster) == 0; }
};

HostReport JudgeHost(const HostFacts& facts);

// How lines are written: with signs and colours on a terminal, in words elsewhere.
struct TextStyle {
  bool unicode = false;
  bool colour = false;
};
std::string FormatText(const HostReport& report, TextStyle style);
// One object; its keys are stable (docs/RUN.md).
std::string FormatJson(const HostReport& report, const HostFacts& facts);

}  // namespace gemel::cli
