#include "grpc/events_service.h"

#include <charconv>

#include "grpc/access/server_tls.h"

namespace gemel::daemon {
namespace {

constexpr std::size_t kBatch = 256;  // events looked at between two looks at the log

const std::vector<std::string_view>& FilterPaths() {
  static const std::vector<std::string_view> paths = {"type", "resource", "uid", "reason"};
  return paths;
}

// "projects/web/" of a parent; empty: all.
ApiResult<std::string> PrefixOf(const std::string& parent) {
  if (parent.empty()) return std::string();
  auto project = ParseParent("parent", parent, Wildcard::kAllowed);
  if (!project) return std::unexpected(std::move(project).error());
  return *project == "-" ? std::string("projects/") : fmt::format("projects/{}/", *project);
}

struct WatchOptions {
  std::string prefix;
  Filter filter;
  access::Caller caller;
  access::PeerFacts facts;
  std::uint64_t after = 0;
  EventLog::Position seen;  // the cluster's events up to there were told by another node
  bool bookmark = false;    // tell where it begins
};

// One stream. Whoever is "busy" with it writes or finishes; everybody else leaves it alone.
//   idle ──an event──▶ busy ──nothing more──▶ idle        busy or idle ──cancelled──▶ finished
class WatchReactor final : public grpc::ServerWriteReactor<v1::Event> {
 public:
  WatchReactor(ServiceContext* services, WatchOptions options)
      : services_(services),
        options_(std::move(options)),
        cursor_(options_.after),
        state_(std::make_shared<State>()) {
    state_->watch = this;
  }

  void Begin() {
    if (!options_.bookmark) return Next();
    out_.set_type(v1::EVENT_TYPE_BOOKMARK);
    out_.set_resume_token(log().TokenOf(cursor_));
    StartWrite(&out_);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End({grpc::StatusCode::CANCELLED, "the client is gone"});
    Next();
  }
  void OnCancel() override {
    {
      MutexLock lock(state_->mutex);
      state_->cancelled = true;
      if (state_->turn != Turn::kIdle) return;
      state_->turn = Turn::kFinished;
    }
    Finish({grpc::StatusCode::CANCELLED, "cancelled"});
  }
  void OnDone() override {
    std::uint64_t waiter = 0;
    {
      MutexLock lock(state_->mutex);
      state_->watch = nullptr;
      waiter = state_->waiter;
    }
    log().Forget(waiter);
    delete this;
  }

 private:
  enum class Turn : std::uint8_t { kBusy, kIdle, kFinished };
  // Outlives the stream: the log may be about to wake it.
  struct State {
    Mutex mutex;
    WatchReactor* watch GUARDED_BY(mutex) = nullptr;
    Turn turn GUARDED_BY(mutex) = Turn::kBusy;
    bool cancelled GUARDED_BY(mutex) = false;
    std::uint64_t waiter GUARDED_BY(mutex) = 0;  // at the log; 0, or one that has served: none
  };

  EventLog& log() { return *services_->published->events; }

  // Busy: writes the next event that is wanted, or becomes idle.
  void Next() {
    while (true) {
      const auto events = log().After(cursor_, kBatch);
      if (!events) return End(ToGrpc(events.error()));
      for (const auto& [sequence, event] : *events) {
        cursor_ = sequence;
        if (!Wanted(*event)) continue;
        // A certificate may have been revoked, or have expired, since the stream began.
        if (const Status known = services_->gate->doorman().StillKnown(options_.facts); !known)
          return End(ToGrpc(FromError(known.error(), access::CodeName(known.error().code))));
        out_ = *event;
        return StartWrite(&out_);
      }
      if (events->empty()) return Rest();
    }
  }

  bool Wanted(const v1::Event& event) const {
    if (event.has_decision() && EventLog::PositionOf(event) <= options_.seen) return false;
    return event.resource().starts_with(options_.prefix) && options_.filter.Matches(event) &&
           services_->gate->MayRead(options_.caller, event.resource());
  }

  // Idle from here on: another thread may have its turn, or end this object.
  void Rest() {
    const std::shared_ptr<State> state = state_;
    EventLog& events = log();
    const std::uint64_t cursor = cursor_;
    bool cancelled = false;
    {
      MutexLock lock(state->mutex);
      cancelled = state->cancelled;
      state->turn = cancelled ? Turn::kFinished : Turn::kIdle;
    }
    if (cancelled) return Finish({grpc::StatusCode::CANCELLED, "cancelled"});
    const std::uint64_t waiter = events.WakeAfter(cursor, [state] { Wake(state); });
    MutexLock lock(state->mutex);
    if (state->watch == nullptr)
      events.Forget(waiter);
    else
      state->waiter = waiter;
  }

  static void Wake(const std::shared_ptr<State>& state) {
    WatchReactor* watch = nullptr;
    {
      MutexLock lock(state->mutex);
      if (state->turn != Turn::kIdle) return;
      state->turn = Turn::kBusy;
      watch = state->watch;
    }
    if (watch != nullptr) watch->Next();
  }

  void End(const grpc::Status& status) {
    {
      MutexLock lock(state_->mutex);
      state_->turn = Turn::kFinished;
    }
    Finish(status);
  }

  ServiceContext* const services_;
  const WatchOptions options_;
  std::uint64_t cursor_;
  v1::Event out_;
  const std::shared_ptr<State> state_;
};

// A stream that ends before it began.
class RefusedWatch final : public grpc::ServerWriteReactor<v1::Event> {
 public:
  RefusedWatch(const CallGate* gate, const ApiError& error) {
    gate->WhenRecorded([this, status = ToGrpc(error)] { Finish(status); });
  }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerWriteReactor<v1::Event>* EventsService::Watch(grpc::CallbackServerContext* context,
                                                          const v1::WatchRequest* request) {
  const EventLog& log = *services_->published->events;
  auto prefix = PrefixOf(request->parent());
  if (!prefix) return new RefusedWatch(services_->gate, prefix.error());
  auto filter = Filter::Parse(request->filter(), v1::Event::descriptor(), FilterPaths());
  if (!filter) return new RefusedWatch(services_->gate, filter.error());
  auto caller = services_->gate->AdmitList(*context, "Events/Watch", ListScope(request->parent()));
  if (!caller) return new RefusedWatch(services_->gate, caller.error());
  EventLog::Place place{log.last(), {}};
  if (!request->resume_token().empty()) {
    auto found = log.Resume(request->resume_token());
    if (!found) return new RefusedWatch(services_->gate, found.error());
    place = *found;
  }
  auto* watch = new WatchReactor(
      services_, WatchOptions{std::move(*prefix), std::move(*filter), std::move(*caller),
                              access::FactsOf(*context), place.sequence, place.seen,
                              request->resume_token().empty()});
  watch->Begin();
  return watch;
}

grpc::ServerUnaryReactor* EventsService::List(grpc::CallbackServerContext* context,
                                              const v1::ListEventsRequest* request,
                                              v1::ListEventsResponse* response) {
  const auto answer = [&]() -> ApiResult<v1::ListEventsResponse> {
    auto prefix = PrefixOf(request->parent());
    if (!prefix) return std::unexpected(std::move(prefix).error());
    const std::string query = fmt::format("events {} {}", request->parent(), request->filter());
    auto page = ParsePage(request->page_size(), request->page_token(), query);
    if (!page) return std::unexpected(std::move(page).error());
    auto filter = Filter::Parse(request->filter(), v1::Event::descriptor(), FilterPaths());
    if (!filter) return std::unexpected(std::move(filter).error());
    auto caller = services_->gate->AdmitList(*context, "Events/List", ListScope(request->parent()));
    if (!caller) return std::unexpected(std::move(caller).error());
    std::uint64_t after = 0;
    std::from_chars(page->after.data(), page->after.data() + page->after.size(), after);
    v1::ListEventsResponse list;
    std::uint64_t last = 0;
    for (const auto& [sequence, event] : services_->published->events->Kept(after)) {
      if (!event->resource().starts_with(*prefix) || !filter->Matches(*event) ||
          !services_->gate->MayRead(*caller, event->resource()))
        continue;
      if (static_cast<std::size_t>(list.events_size()) == page->size) {
        list.set_next_page_token(MakePageToken(fmt::to_string(last), query));
        break;
      }
      *list.add_events() = *event;
      last = sequence;
    }
    return list;
  };
  return Answer<v1::ListEventsResponse>(services_, context, answer(), response);
}

}  // namespace gemel::daemon
