#include "base/thread.h"

#include <pthread.h>

#include <utility>

namespace gemel {

std::thread StartThread(std::string name, std::function<void()> entry) {
  name.resize(name.size() < 15 ? name.size() : 15);
  return std::thread([name = std::move(name), entry = std::move(entry)]() noexcept {
    pthread_setname_np(pthread_self(), name.c_str());
    entry();
  });
}

}  // namespace gemel
