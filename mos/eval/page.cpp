#include "mos/eval/page.h"

#include <fmt/core.h>

#include <utility>

#include "mos/base/base64.h"
#include "mos/base/file.h"
#include "mos/io/image.h"

namespace mos::eval {
namespace {

/// Nothing is fetched, whatever a caption may hold.
constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="generator" content="mixofshow">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
td, th {{ padding: .2rem .75rem; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }}
.row {{ display: flex; flex-wrap: wrap; gap: .5rem; margin: .5rem 0; }}
figure {{ margin: 0; }} figcaption {{ color: #555; font-size: .8rem; max-width: 16rem; }}
img {{ display: block; min-width: 8rem; max-width: 100%; }}
</style></head><body>
<h1>{}</h1>
)";

std::string cells(const std::vector<std::string>& texts, const char* tag) {
  std::string row = "<tr>";
  for (const auto& text : texts) row += fmt::format("<{0}>{1}</{0}>", tag, html_text(text));
  return row + "</tr>\n";
}

}  // namespace

FileKind page_kind() {
  return {"a page of mos", [](const std::filesystem::path& path) {
            return read_whole_file(path).find("content=\"mixofshow\"") != std::string::npos;
          }};
}

std::string html_text(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

ShownPicture shown(const torch::Tensor& pixels, std::string caption) {
  return {io::encode_png(pixels.contiguous()), std::move(caption)};
}

void Page::heading(std::string_view text) {
  body_ += fmt::format("<h2>{}</h2>\n", html_text(text));
}

void Page::paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", html_text(text));
}

void Page::table(const std::vector<std::string>& header,
                 const std::vector<std::vector<std::string>>& rows) {
  body_ += "<table>\n" + cells(header, "th");
  for (const auto& row : rows) body_ += cells(row, "td");
  body_ += "</table>\n";
}

void Page::pictures(const std::vector<ShownPicture>& row) {
  body_ += "<div class=\"row\">\n";
  for (const auto& picture : row) {
    const auto caption = html_text(picture.caption);
    body_ += fmt::format(
        "<figure><img alt=\"{0}\" src=\"data:image/png;base64,{1}\"><figcaption>{0}</figcaption>"
        "</figure>\n",
        caption, base64_encode(picture.png));
  }
  body_ += "</div>\n";
}

std::string Page::text() const {
  const auto title = html_text(title_);
  return fmt::format(kHead, title, title) + body_ + "</body></html>\n";
}

}  // namespace mos::eval
