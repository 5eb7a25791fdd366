// Short texts without an allocator: what does not fit is cut off.
#pragma once
#include <cstddef>

namespace gemel::jail {

class Text {
 public:
  Text& operator<<(const char* text);
  Text& operator<<(long number);
  const char* c_str() const { return bytes_; }
  std::size_t size() const { return size_; }

 private:
  char bytes_[512] = {};  // ends with a zero
  std::size_t size_ = 0;
};

// Replaces a file's content in one write (a file of /proc or of a cgroup). The errno, or 0.
int WriteFile(const char* path, const Text& text);

}  // namespace gemel::jail
