#include "hostnet/network_thread.h"

#include <utility>

#include "base/thread.h"

namespace gemel::hostnet {

Result<std::unique_ptr<NetworkThread>> NetworkThread::Start(const Make& make) {
  std::unique_ptr<NetworkThread> self(new NetworkThread);
  ASSIGN_OR_RETURN(self->loop_, EventLoop::Create());
  ASSIGN_OR_RETURN(self->networks_, make(self->loop_.get()));
  ASSIGN_OR_RETURN(self->thread_,
                   StartThread("networks", [loop = self->loop_.get()] { loop->Run(); }));
  return self;
}

NetworkThread::~NetworkThread() {
  if (!thread_.joinable()) return;
  loop_->Stop();
  thread_.join();
}

void NetworkThread::Post(Task task) {
  loop_->Post([networks = networks_.get(), task = std::move(task)] { task(*networks); });
}

}  // namespace gemel::hostnet
