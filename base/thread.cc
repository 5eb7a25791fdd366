#include "base/thread.h"

#include <pthread.h>

#include <system_error>
#include <utility>

namespace gemel {
namespace {

void (*confine_thread)(ThreadRole) = nullptr;

}  // namespace

void SetThreadConfiner(void (*confine)(ThreadRole role)) { confine_thread = confine; }

Result<std::thread> StartThread(std::string name, std::function<void()> entry, ThreadRole role) {
  name.resize(name.size() < 15 ? name.size() : 15);
  try {  // the one exception of the standard library that a host's limits can cause
    return std::thread([name, role, entry = std::move(entry)]() noexcept {
      pthread_setname_np(pthread_self(), name.c_str());
      if (confine_thread != nullptr) confine_thread(role);
      entry();
    });
  } catch (const std::system_error& error) {
    return ErrnoError(error.code().value(), fmt::format("start thread {}", name));
  }
}

}  // namespace gemel
