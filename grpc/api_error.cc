#include "grpc/api_error.h"

#include <fmt/format.h>

#include "proto/google/rpc/error_details.pb.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kDomain = "gemel";
// A value that came from outside is shown, not repeated at length.
constexpr std::size_t kMaxMessageBytes = 2048;

}  // namespace

std::string Printable(std::string_view text) {
  std::string out(text.substr(0, kMaxMessageBytes));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  }
  return out;
}

ApiError MakeApiError(Code code, std::string_view reason, std::string_view message,
                      Metadata metadata) {
  ApiError error;
  error.set_code(static_cast<int>(code));
  error.set_message(Printable(message));
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(reason));
  info.set_domain(std::string(kDomain));
  for (const auto& [key, value] : metadata)
    (*info.mutable_metadata())[std::string(key)] = Printable(value);
  error.add_details()->PackFrom(info);
  return error;
}

ApiError InvalidField(std::string_view field, std::string_view description,
                      std::string_view reason) {
  ApiError error = MakeApiError(Code::kInvalidArgument, reason,
                                fmt::format("{}: {}", field, description), {{"field", field}});
  google::rpc::BadRequest bad;
  auto* violation = bad.add_field_violations();
  violation->set_field(Printable(field));
  violation->set_description(Printable(description));
  error.add_details()->PackFrom(bad);
  return error;
}

ApiError ResourceNotFound(std::string_view type, std::string_view name) {
  ApiError error = MakeApiError(Code::kNotFound, reason::kNotFound,
                                fmt::format("{} \"{}\" does not exist", type, name));
  google::rpc::ResourceInfo info;
  info.set_resource_type(fmt::format("gemel.v1/{}", type));
  info.set_resource_name(Printable(name));
  error.add_details()->PackFrom(info);
  return error;
}

ApiError ResourceExists(std::string_view type, std::string_view name, std::string_view since) {
  ApiError error = MakeApiError(Code::kAlreadyExists, reason::kAlreadyExists,
                                fmt::format("{} \"{}\" already exists{}{}", type, name,
                                            since.empty() ? "" : ", created ", since));
  google::rpc::ResourceInfo info;
  info.set_resource_type(fmt::format("gemel.v1/{}", type));
  info.set_resource_name(Printable(name));
  error.add_details()->PackFrom(info);
  return error;
}

ApiError WrongState(std::string_view subject, std::string_view message, std::string_view reason) {
  ApiError error = MakeApiError(Code::kFailedPrecondition, reason, message);
  google::rpc::PreconditionFailure failure;
  auto* violation = failure.add_violations();
  violation->set_type(std::string(reason));
  violation->set_subject(Printable(subject));
  violation->set_description(Printable(message));
  error.add_details()->PackFrom(failure);
  return error;
}

ApiError FromError(const Error& error, std::string_view reason) {
  return MakeApiError(error.code, reason, error.message);
}

std::string ReasonOf(const ApiError& error) {
  for (const auto& detail : error.details()) {
    google::rpc::ErrorInfo info;
    if (detail.Is<google::rpc::ErrorInfo>() && detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

}  // namespace gemel::daemon
