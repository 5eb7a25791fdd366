// GEMEL_MUTATION names the rule that is missing; without it they are all there.
#include <cstdlib>
#include <string_view>

#include "keeper/program_rules.h"

namespace gemel::keeper {

cluster::Rules ProgramRules() {
  const char* const found = std::getenv("GEMEL_MUTATION");
  const std::string_view mutation = found == nullptr ? "" : found;
  cluster::Rules rules;
  rules.mutations.no_revision_compare = mutation == "no_revision_compare";
  rules.mutations.no_preempt_verification = mutation == "no_preempt_verification";
  rules.mutations.credit_from_receipt = mutation == "credit_from_receipt";
  if (mutation == "wait_below_own") rules.timing.wait = {1'600'000};
  return rules;
}

}  // namespace gemel::keeper
