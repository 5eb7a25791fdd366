// A file that we have made; removed when destroyed unless kept.
#pragma once
#include <unistd.h>

#include <string>
#include <utility>

namespace gemel::launch {

class CreatedFile {
 public:
  CreatedFile() = default;
  explicit CreatedFile(std::string path) : path_(std::move(path)) {}
  CreatedFile(CreatedFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  CreatedFile& operator=(CreatedFile&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~CreatedFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  void Keep() { path_.clear(); }

 private:
  std::string path_;
};

}  // namespace gemel::launch
