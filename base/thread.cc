#include "base/thread.h"

#include <pthread.h>

#include <system_error>
#include <utility>

namespace gemel {

Result<std::thread> StartThread(std::string name, std::function<void()> entry) {
  name.resize(name.size() < 15 ? name.size() : 15);
  try {  // the one exception of the standard library that a host's limits can cause
    return std::thread([name, entry = std::move(entry)]() noexcept {
      pthread_setname_np(pthread_self(), name.c_str());
      entry();
    });
  } catch (const std::system_error& error) {
    return ErrnoError(error.code().value(), fmt::format("start thread {}", name));
  }
}

}  // namespace gemel
