// gemel disk: disks and the pools they are in.
#include <fcntl.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <unistd.h>

#include "base/file_util.h"
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/client/operation_wait.h"
#include "pki/sha256.h"
#include "proto/gemel/v1/disks.grpc.pb.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

using Disks = v1::Disks;

constexpr char kHelp[] =
    R"(Examples:
  gemel disk create web-root --size 20G --wait
  gemel disk upload web-root --from debian.raw --wait

Disks of VMs, and the pools that they are in.

Usage: gemel disk VERB [NAME] [ARGUMENT]...

Verbs:
  list, get   what there is
  create      an empty one
  upload      one with the bytes of a file
  grow        to a larger size
  delete      with all that is on it
  pools       where disks can be, and the room there
)";

Table DiskTable() {
  return Table({{"NAME"},
                {"STATE"},
                {"SIZE"},
                {"USED"},
                {"POOL"},
                {"USED BY"},
                {"MESSAGE", true},
                {"UID", true}});
}

void AddDisk(const Session& session, const v1::Disk& disk, Table& table) {
  std::string users;
  for (const std::string& user : disk.users())
    users += (users.empty() ? "" : ",") + ShortName(session.project(), user);
  table.Add({ShortName(session.project(), disk.name()),
             EnumWord(v1::DiskState_Name(disk.state()), "DISK_STATE_"),
             RoughSize(disk.size_bytes()), RoughSize(disk.allocated_bytes()),
             disk.block_device().empty() ? disk.pool() : disk.block_device(), users, disk.message(),
             disk.uid()});
}

Status List(Words words) {
  Session session("disk list");
  std::string filter;
  OptionParser parser(R"(Examples:
  gemel disk list
  gemel disk list --filter 'pool = fast' -o wide

Disks of a project.)");
  parser.AddOption("--filter", filter, "which: name, pool, state, size_bytes, labels.KEY");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::ListDisksRequest request;
  request.set_parent(session.parent());
  request.set_filter(filter);
  request.set_page_size(500);
  v1::ListDisksResponse all;
  do {
    v1::ListDisksResponse page;
    RETURN_IF_ERROR(session.Call("Disks/List", request, &page));
    all.mutable_disks()->MergeFrom(page.disks());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  Table table = DiskTable();
  std::vector<const google::protobuf::Message*> messages;
  std::vector<std::string> names;
  for (const v1::Disk& disk : all.disks()) {
    AddDisk(session, disk, table);
    messages.push_back(&disk);
    names.push_back(ShortName(session.project(), disk.name()));
  }
  return session.Show(messages, names, table);
}

Status Get(Words words) {
  Session session("disk get");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel disk get web-root
  gemel disk get web-root -o yaml

One disk.)");
  parser.AddOption("NAME", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::GetDiskRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), session.NameOf("disks", name));
  v1::Disk disk;
  RETURN_IF_ERROR(session.Call("Disks/Get", request, &disk));
  Table table = DiskTable();
  AddDisk(session, disk, table);
  return session.ShowOne(disk, name, table);
}

struct NewDisk {
  std::string name;
  std::string size;
  std::string pool;
  std::string device;
  std::string from;
  bool full = false;
};

void AddNewDiskOptions(OptionParser& parser, NewDisk& options) {
  parser.AddOption("NAME", options.name, "1 to 63 of a-z 0-9 -").Required();
  parser.AddOption("--pool", options.pool, "where; else the default pool").Value("POOL");
  parser.AddFlag("--full", options.full, "take its room at once");
}

Result<v1::CreateDiskRequest> NewDiskRequest(const Session& session, const NewDisk& options) {
  v1::CreateDiskRequest request;
  ASSIGN_OR_RETURN(const std::string full, session.NameOf("disks", options.name));
  request.set_parent(full.substr(0, full.find("/disks/")));
  request.set_disk_id(LastPart(full));
  request.mutable_disk()->set_pool(options.pool);
  request.mutable_disk()->set_block_device(options.device);
  if (options.full) request.mutable_disk()->set_allocation(v1::ALLOCATION_FULL);
  request.set_request_id(session.request_id());
  request.set_validate_only(session.dry_run());
  return request;
}

Status Create(Words words) {
  Session session("disk create");
  NewDisk options;
  OptionParser parser(R"(Examples:
  gemel disk create web-root --size 20G --wait
  gemel disk create data --device /dev/vg0/data

An empty disk, or a block device of the node that its administrator declared.)");
  AddNewDiskOptions(parser, options);
  parser.AddOption("--size", options.size, "20G").Value("SIZE");
  parser.AddOption("--device", options.device, "a block device, instead of a size").Value("PATH");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  if (options.size.empty() == options.device.empty())
    return InvalidArgument("size: give either --size or --device");
  ASSIGN_OR_RETURN(v1::CreateDiskRequest request, NewDiskRequest(session, options));
  if (!options.size.empty()) {
    ASSIGN_OR_RETURN(const std::uint64_t size, ParseSize("size", options.size));
    request.mutable_disk()->set_size_bytes(size);
  }
  v1::Operation operation;
  RETURN_IF_ERROR(session.Call("Disks/Create", request, &operation));
  return FinishChange(session, operation, "created");
}

// Sends the file after the request, and its SHA-256; how far it is, on a terminal's stderr.
Status SendFile(grpc::ClientWriterInterface<v1::UploadDiskRequest>& writer, int fd,
                std::uint64_t size) {
  constexpr std::size_t kChunk = 1U << 20;
  v1::UploadDiskRequest part;
  pki::Sha256 sum;
  for (std::uint64_t sent = 0; sent < size;) {
    std::string& data = *part.mutable_data();
    data.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kChunk, size - sent)));
    RETURN_IF_ERROR(ReadExactlyAt(fd, sent, std::as_writable_bytes(std::span(data))));
    sum.Update(data);
    if (!writer.Write(part)) return {};  // the call's status says why
    sent += data.size();
    if (OnTerminal(STDERR_FILENO)) fmt::print(stderr, "\r\x1b[Kuploading {} %", 100 * sent / size);
  }
  if (OnTerminal(STDERR_FILENO)) fmt::print(stderr, "\r\x1b[K");
  part.set_sha256(sum.HexDigest());
  static_cast<void>(writer.Write(part));  // the call's status says it
  return {};
}

Status Upload(Words words) {
  Session session("disk upload");
  NewDisk options;
  OptionParser parser(R"(Examples:
  gemel disk upload web-root --from debian.raw
  gemel disk upload web-root --from debian.raw --wait

A disk with the bytes of a raw image.)");
  AddNewDiskOptions(parser, options);
  parser.AddOption("--from", options.from, "a raw image of this machine").Value("FILE").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const UniqueFd file, OpenFile(options.from, O_RDONLY));
  ASSIGN_OR_RETURN(const std::uint64_t size, FileSize(file.get()));
  v1::UploadDiskRequest first;
  ASSIGN_OR_RETURN(*first.mutable_create(), NewDiskRequest(session, options));
  first.mutable_create()->mutable_disk()->set_size_bytes(size);
  ASSIGN_OR_RETURN(const auto channel, session.Channel());
  const auto stub = Disks::NewStub(channel);
  grpc::ClientContext context;
  if (const auto left = session.TimeLeftMs())
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(*left));
  v1::Operation operation;
  const std::unique_ptr<grpc::ClientWriterInterface<v1::UploadDiskRequest>> writer =
      stub->Upload(&context, &operation);
  if (writer->Write(first)) {
    if (auto sent = SendFile(*writer, file.get(), size); !sent) {
      context.TryCancel();
      static_cast<void>(writer->Finish());  // cancelled, by us
      return WithContext(std::move(sent).error(), options.from);
    }
  }
  static_cast<void>(writer->WritesDone());  // the status says it
  const grpc::Status status = writer->Finish();
  if (!status.ok()) return std::unexpected(session.ErrorOf(status));
  return FinishChange(session, operation, "uploaded");
}

Status Grow(Words words) {
  Session session("disk grow");
  std::string name;
  std::string size;
  OptionParser parser(R"(Examples:
  gemel disk grow web-root --size 40G
  gemel disk grow web-root --size 40G --wait

A larger size; a disk never shrinks.)");
  parser.AddOption("NAME", name, "which").Required();
  parser.AddOption("--size", size, "40G").Value("SIZE").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  v1::UpdateDiskRequest request;
  ASSIGN_OR_RETURN(*request.mutable_disk()->mutable_name(), session.NameOf("disks", name));
  ASSIGN_OR_RETURN(const std::uint64_t bytes, ParseSize("size", size));
  request.mutable_disk()->set_size_bytes(bytes);
  request.mutable_update_mask()->add_paths("size_bytes");
  request.set_request_id(session.request_id());
  request.set_validate_only(session.dry_run());
  v1::Operation operation;
  RETURN_IF_ERROR(session.Call("Disks/Update", request, &operation));
  return FinishChange(session, operation, "grown");
}

Status Delete(Words words) {
  Session session("disk delete");
  std::string name;
  bool yes = false;
  bool missing = false;
  OptionParser parser(R"(Examples:
  gemel disk delete web-root
  gemel disk delete web-root --yes --wait

Deletes it with all that is on it.)");
  parser.AddOption("NAME", name, "which").Required();
  parser.AddFlag("--yes,-y", yes, "do not ask");
  parser.AddFlag("--if-exists", missing, "one that is not there is well, too");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  v1::DeleteDiskRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), session.NameOf("disks", name));
  if (!session.dry_run())
    RETURN_IF_ERROR(Confirm(yes, fmt::format("{}: all data on it will be lost", name)));
  request.set_allow_missing(missing);
  request.set_request_id(session.request_id());
  request.set_validate_only(session.dry_run());
  v1::Operation operation;
  RETURN_IF_ERROR(session.Call("Disks/Delete", request, &operation));
  return FinishChange(session, operation, "deleted");
}

Status Pools(Words words) {
  Session session("disk pools");
  OptionParser parser(R"(Examples:
  gemel disk pools
  gemel disk pools -o json

Where disks can be, and the room there.)");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::ListPoolsResponse pools;
  RETURN_IF_ERROR(session.Call("Disks/ListPools", v1::ListPoolsRequest(), &pools));
  Table table({{"POOL"}, {"CAPACITY"}, {"FREE"}, {"PROMISED"}, {"MESSAGE"}});
  std::vector<const google::protobuf::Message*> messages;
  std::vector<std::string> names;
  for (const v1::Pool& pool : pools.pools()) {
    table.Add({pool.pool(), RoughSize(pool.capacity_bytes()), RoughSize(pool.free_bytes()),
               RoughSize(pool.provisioned_bytes()), pool.message()});
    messages.push_back(&pool);
    names.push_back(pool.pool());
  }
  return session.Show(messages, names, table);
}

}  // namespace

Noun DiskNoun() {
  static constexpr VerbEntry kVerbs[] = {{"list", List},     {"get", Get},   {"create", Create},
                                         {"upload", Upload}, {"grow", Grow}, {"delete", Delete},
                                         {"pools", Pools}};
  return {"disk", kHelp, kVerbs};
}

}  // namespace gemel::cli
