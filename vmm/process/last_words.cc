#include "vmm/process/last_words.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace gemel {

void SayLastWords(int report_fd, std::string_view word, std::string_view reason) {
  constexpr std::size_t kMost = 200;
  if (report_fd < 0) return;
  std::string line = fmt::format("ended {}{}{}", word, reason.empty() ? "" : " ", reason);
  line.resize(std::min(line.size(), kMost));
  std::ranges::replace_if(line, [](char c) { return c < ' ' || c > '~'; }, '?');
  line += '\n';
  [[maybe_unused]] const ssize_t n = write(report_fd, line.data(), line.size());
}

}  // namespace gemel
