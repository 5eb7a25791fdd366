#include "base/thread.h"

#include <pthread.h>

#include <future>
#include <system_error>
#include <utility>

namespace gemel {
namespace {

void (*confine_thread)(ThreadRole) = nullptr;

}  // namespace

void SetThreadConfiner(void (*confine)(ThreadRole role)) { confine_thread = confine; }

Result<std::thread> StartThread(std::string name, std::function<void()> entry, ThreadRole role) {
  name.resize(name.size() < 15 ? name.size() : 15);
  std::promise<void> confined;
  std::future<void> is_confined = confined.get_future();
  try {  // the one exception of the standard library that a host's limits can cause
    std::thread thread(
        [name, role, entry = std::move(entry), confined = std::move(confined)]() mutable noexcept {
          pthread_setname_np(pthread_self(), name.c_str());
          if (confine_thread != nullptr) confine_thread(role);
          confined.set_value();
          entry();
        });
    if (confine_thread != nullptr) is_confined.wait();
    return thread;
  } catch (const std::system_error& error) {
    return ErrnoError(error.code().value(), fmt::format("start thread {}", name));
  }
}

}  // namespace gemel
