#include "grpc/field_mask.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/field_mask_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

namespace gemel::daemon {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::FieldMaskUtil;
using google::protobuf::util::MessageDifferencer;

constexpr int kMaxPaths = 100;

bool IsAtOrBelow(std::string_view path, std::string_view allowed) {
  return path.starts_with(allowed) &&
         (path.size() == allowed.size() || path[allowed.size()] == '.');
}

bool IsSet(const Message& message, const FieldDescriptor* field) {
  return field->is_repeated() ? message.GetReflection()->FieldSize(message, field) > 0
                              : message.GetReflection()->HasField(message, field);
}

bool FieldDiffers(const Message& a, const Message& b, const FieldDescriptor* field) {
  MessageDifferencer differencer;
  return !differencer.CompareWithFields(a, b, {field}, {field});
}

void Collect(const Message& a, const Message& b, const std::string& prefix,
             std::vector<std::string>& paths) {
  const auto* type = a.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (!FieldDiffers(a, b, field)) continue;
    const bool nested = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
                        !field->is_repeated() && IsSet(a, field) && IsSet(b, field) &&
                        field->message_type()->file()->package() == type->file()->package();
    if (nested) {
      Collect(a.GetReflection()->GetMessage(a, field), b.GetReflection()->GetMessage(b, field),
              prefix + field->name() + ".", paths);
    } else {
      paths.push_back(prefix + field->name());
    }
  }
}

// The mask's paths, each known and allowed.
ApiResult<google::protobuf::FieldMask> Resolve(const google::protobuf::FieldMask& mask,
                                               const std::vector<std::string_view>& allowed,
                                               const Message& update) {
  google::protobuf::FieldMask paths;
  const bool all = mask.paths_size() == 1 && mask.paths(0) == "*";
  if (all || mask.paths_size() == 0) {
    for (const std::string_view path : allowed) {
      const FieldDescriptor* field = update.GetDescriptor()->FindFieldByName(std::string(path));
      if (all || (field != nullptr && IsSet(update, field))) paths.add_paths(std::string(path));
    }
    return paths;
  }
  if (mask.paths_size() > kMaxPaths)
    return std::unexpected(InvalidField(
        "update_mask", fmt::format("{} paths are more than {}", mask.paths_size(), kMaxPaths)));
  for (const std::string& path : mask.paths()) {
    if (!FieldMaskUtil::GetFieldDescriptors(update.GetDescriptor(), path, nullptr))
      return std::unexpected(
          InvalidField("update_mask", fmt::format("\"{}\" is not a field", path)));
    if (std::none_of(allowed.begin(), allowed.end(),
                     [&](std::string_view known) { return IsAtOrBelow(path, known); }))
      return std::unexpected(InvalidField(
          "update_mask",
          fmt::format("\"{}\" cannot be updated; {} can", path, fmt::join(allowed, ", ")),
          reason::kImmutableField));
    paths.add_paths(path);
  }
  return paths;
}

}  // namespace

ApiResult<void> ApplyMask(const google::protobuf::FieldMask& mask,
                          const std::vector<std::string_view>& allowed, const Message& update,
                          Message& target) {
  auto paths = Resolve(mask, allowed, update);
  if (!paths) return std::unexpected(std::move(paths).error());
  FieldMaskUtil::MergeOptions options;
  options.set_replace_message_fields(true);
  options.set_replace_repeated_fields(true);
  FieldMaskUtil::MergeMessageTo(update, *paths, options, &target);
  return {};
}

std::vector<std::string> DifferingPaths(const Message& a, const Message& b) {
  std::vector<std::string> paths;
  Collect(a, b, "", paths);
  return paths;
}

}  // namespace gemel::daemon
