#include "virtio/worker.h"

#include <sys/epoll.h>

#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace gemel::virtio {

Result<std::unique_ptr<Worker>> Worker::Create(std::string name, Client* client, ThreadRole role,
                                               Permit* permit) {
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Create());
  std::unique_ptr<Worker> worker(new Worker(name, client, std::move(loop)));
  if (role != ThreadRole::kDisk) worker->loop_->SetPermit(permit);
  ASSIGN_OR_RETURN(
      worker->thread_,
      StartThread(std::move(name), [loop = worker->loop_.get()] { loop->Run(); }, role));
  if (permit != nullptr)
    permit->Join({.loop = worker->loop_.get(),
                  .in_flight = [client] { return client->Outstanding(); },
                  .over = [client] { client->OnPermitOver(); },
                  .renewed = [client] { client->OnPermitRenewed(); }});
  return worker;
}

Worker::Worker(std::string name, Client* client, std::unique_ptr<EventLoop> loop)
    : name_(std::move(name)), client_(client), loop_(std::move(loop)) {}

Worker::~Worker() {
  loop_->Stop();
  if (thread_.joinable()) thread_.join();
  CHECK(!activation_.has_value());
}

Status Worker::Activate(Activation activation) {
  // std::function copies; the activation cannot.
  auto shared = std::make_shared<Activation>(std::move(activation));
  loop_->Post([this, shared] { Start(std::move(*shared)); });
  return {};
}

void Worker::Reset(std::function<void()> done) {
  loop_->Post([this, done = std::move(done)]() mutable { Stop(std::move(done)); });
}

void Worker::Start(Activation activation) {
  CHECK(!activation_.has_value());
  broken_ = false;
  activation_ = std::move(activation);
  client_->OnStart(*activation_);
  for (ActiveQueue& queue : activation_->queues) {
    const Status watched = loop_->Watch(queue.kick->get(), EPOLLIN, [this, &queue](std::uint32_t) {
      queue.kick->Drain();
      if (!broken_) client_->OnKick(queue);
    });
    if (!watched) {
      LOG(kError, name_, "queue {}: {}", queue.index, watched.error().message);
      broken_ = true;
      activation_->needs_reset();
      return;
    }
    // A driver may have offered buffers before DRIVER_OK, and then kicked before anyone listened.
    KickAgain(queue);
  }
}

void Worker::Stop(std::function<void()> done) {
  if (!activation_) return done();
  on_stopped_.push_back(std::move(done));
  if (on_stopped_.size() > 1) return;  // stopping already
  StopKicks();
  client_->OnStop([this] { Stopped(); });
}

void Worker::Stopped() {
  activation_.reset();
  const auto waiting = std::exchange(on_stopped_, {});
  for (const std::function<void()>& done : waiting) done();
}

void Worker::StopKicks() {
  for (const ActiveQueue& queue : activation_->queues) loop_->Unwatch(queue.kick->get());
}

void Worker::Break(const ActiveQueue& queue, QueueError error) {
  if (std::exchange(broken_, true)) return;
  LOG(kWarning, name_, "queue {}: {}; the driver must reset the device", queue.index,
      ToString(error));
  StopKicks();
  activation_->needs_reset();
}

}  // namespace gemel::virtio
