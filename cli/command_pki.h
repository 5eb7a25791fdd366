// gemel pki: a certificate authority of one's own for gemeld and those who may call it.
#pragma once
#include <span>
#include <string>

namespace gemel::cli {

// `words`: the verb and its arguments. The exit status (exit_status.h).
int PkiCommand(std::span<const std::string> words);

}  // namespace gemel::cli
