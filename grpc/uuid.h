// Names that are never given twice.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace gemel::daemon {

// A random UUID (RFC 4122, version 4) from the kernel. Any thread.
std::string NewUuid();
// `bytes` hexadecimal characters from the kernel's random numbers, at most 32.
std::string RandomHex(std::size_t characters);
// FNV-1a, for telling texts apart that nobody makes collide on purpose.
std::uint64_t Fnv1a(std::string_view text, std::uint64_t seed = 0xcbf29ce484222325ull);

}  // namespace gemel::daemon
