#include "cli/client/event_stream.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <unistd.h>

#include "cli/report.h"
#include "proto/gemel/v1/events.grpc.pb.h"

namespace gemel::cli {
namespace {

void SetDeadline(const Session& session, grpc::ClientContext& context) {
  if (const auto left = session.TimeLeftMs())
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(*left));
}

v1::WatchRequest RequestFor(const Session& session, const std::string& token,
                            const std::string& filter) {
  v1::WatchRequest request;
  request.set_parent(session.parent());
  request.set_resume_token(token);
  request.set_filter(filter);
  return request;
}

}  // namespace

Result<std::string> TokenOfNow(Session& session) {
  ASSIGN_OR_RETURN(const auto channel, session.Channel());
  const auto stub = v1::Events::NewStub(channel);
  grpc::ClientContext context;
  SetDeadline(session, context);
  const auto reader = stub->Watch(&context, RequestFor(session, "", ""));
  v1::Event event;
  if (reader->Read(&event)) {
    context.TryCancel();
    static_cast<void>(reader->Finish());  // cancelled, by us
    return event.resume_token();
  }
  return std::unexpected(session.ErrorOf(reader->Finish()));
}

Status FollowEvents(Session& session, std::string token,
                    const std::function<Status(const v1::Event&)>& take,
                    const std::string& filter) {
  bool told = false;
  bool several = false;
  while (true) {
    ASSIGN_OR_RETURN(const auto channel, session.Channel());
    const auto stub = v1::Events::NewStub(channel);
    grpc::ClientContext context;
    SetDeadline(session, context);
    context.set_wait_for_ready(!token.empty() && !several);
    const auto reader = stub->Watch(&context, RequestFor(session, token, filter));
    v1::Event event;
    while (reader->Read(&event)) {
      token = event.resume_token();
      told = false;
      if (event.type() == v1::EVENT_TYPE_BOOKMARK) continue;
      if (auto taken = take(event); !taken) {
        context.TryCancel();
        static_cast<void>(reader->Finish());  // cancelled, by us
        return taken;
      }
    }
    const grpc::Status status = reader->Finish();
    if (!session.CheckTime()) return {};
    const bool again = status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                       status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
    if (!again || token.empty()) return std::unexpected(session.ErrorOf(status));
    if (!told) PrintNote("the connection broke; going on when the server is there again");
    told = true;
    usleep(300'000);
    several = session.GoOn();  // its token counts there, too
  }
}

}  // namespace gemel::cli
