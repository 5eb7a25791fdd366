// All nouns of gemel-client.
#pragma once
#include <vector>

#include "cli/client/commands.h"

namespace gemel::cli {

std::vector<Noun> AllNouns();

// Runs a noun's verb, or shows its help; fails with what was meant for a word that is unknown.
Status RunNoun(Words words);

}  // namespace gemel::cli
