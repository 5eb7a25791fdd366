#include "keeper/program_rules.h"

namespace gemel::keeper {

cluster::Rules ProgramRules() { return {}; }

}  // namespace gemel::keeper
