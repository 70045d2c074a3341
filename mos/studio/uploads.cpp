#include "mos/studio/uploads.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "mos/base/file.h"
#include "mos/base/text.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

/// Hidden, so that no path of a request leads here; emptied at the start.
constexpr const char* kIncoming = ".incoming";

}  // namespace

Json ask_naming(Reader& reader, const Json& request, const std::string& name) {
  try {
    return reader.ask(request);
  } catch (const Error& error) {
    throw Error(error.kind(), replaced(error.what(), request.at("file").get<std::string>(), name));
  }
}

Upload::Upload(const Parts& parts, const Call& call, UploadOptions options)
    : parts_(parts), name_(printable(options.name)) {
  make_folders(parts.folder.root() / kIncoming);
  path_ = std::string(kIncoming) + "/" + random_token();
  try {
    body_to_file(call, parts.folder.root() / path_, options.most);
  } catch (...) {
    std::error_code ignored;
    fs::remove(parts_.folder.root() / path_, ignored);
    throw;
  }
}

Upload::~Upload() {
  std::error_code ignored;
  fs::remove(parts_.folder.root() / path_, ignored);
}

Json Upload::ask(const std::string& what, const Json& more) const {
  Json request = {{"do", what}, {"file", path_}};
  request.update(more);
  return ask_naming(parts_.reader, request, name_);
}

ReceivedPicture Upload::check_picture() const {
  const auto answer = ask("check");
  return {answer.at("width"), answer.at("height")};
}

ReceivedPicture Upload::check_mask(const std::string& picture) const {
  const auto answer = ask("check", {{"mask_of", picture}});
  return {answer.at("width"), answer.at("height")};
}

void Upload::place(const std::string& relative) {
  const auto to = parts_.folder.inside(relative, Access::kWrite);
  make_folders(to.parent_path());
  std::error_code code;
  fs::rename(parts_.folder.root() / path_, to, code);
  if (code) throw Error(ErrorKind::kIo, "cannot write " + relative + ": " + code.message());
}

void check_picture_name(const std::string& name) {
  check_name("the picture", name);
  constexpr std::array<std::string_view, 4> kEndings = {".png", ".jpg", ".jpeg", ".webp"};
  const auto ending = lower_ascii(fs::path(name).extension().string());
  if (std::ranges::find(kEndings, ending) != kEndings.end()) return;
  throw Refused(415, "pictures are PNG, JPEG or WebP, and named so: " + printable(name));
}

}  // namespace mos::studio
