// The rules that a program goes by. gemel-keeper links program_rules.cc; a test that takes a rule away, to
// see that something notices, links its own (tests/cluster/mutant_rules.cc).
#pragma once
#include "cluster/timing.h"

namespace gemel::keeper {

cluster::Rules ProgramRules();

}  // namespace gemel::keeper
