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
  write_by([&](const fs::path& to) { body_to_file(call, to, options.most); });
}

Upload::Upload(const Parts& parts, const std::string& bytes, const std::string& name)
    : parts_(parts), name_(printable(name)) {
  write_by([&bytes](const fs::path& to) { write_text_file(to, bytes); });
}

void Upload::write_by(const std::function<void(const fs::path&)>& write) {
  make_folders(parts_.folder.root() / kIncoming);
  path_ = std::string(kIncoming) + "/" + random_token();
  try {
    write(parts_.folder.root() / path_);
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

std::string Upload::place(const std::string& relative, IfTaken if_taken) {
  make_folders(parts_.folder.inside(relative, Access::kWrite).parent_path());
  return parts_.folder.place(parts_.folder.root() / path_, relative, if_taken);
}

void check_picture_name(const std::string& name) {
  check_name("the picture", name);
  constexpr std::array<std::string_view, 4> kEndings = {".png", ".jpg", ".jpeg", ".webp"};
  const auto ending = lower_ascii(fs::path(name).extension().string());
  if (std::ranges::find(kEndings, ending) != kEndings.end()) return;
  throw Refused(415, "pictures are PNG, JPEG or WebP, and named so: " + printable(name));
}

}  // namespace mos::studio
