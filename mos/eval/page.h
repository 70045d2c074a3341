#pragma once

#include <torch/types.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mos/base/outputs.h"

/// Pages that show pictures side by side: one file of HTML with everything in it, which asks no
/// network for anything and runs no script unless it is given one.
namespace mos::eval {

/// A page that is made here.
FileKind page_kind();

/// `text` as it can stand in HTML, in attributes too.
std::string html_text(std::string_view text);

/// A picture inside a page.
struct ShownPicture {
  std::string png;      ///< Bytes of the file.
  std::string caption;  ///< Plain text; may be empty.
};

/// Pictures uint8 [H,W,3] that are shown as they are.
ShownPicture shown(const torch::Tensor& pixels, std::string caption = {});

class Page {
 public:
  explicit Page(std::string title) : title_(std::move(title)) {}

  // All take plain text and escape it.
  void heading(std::string_view text);
  void paragraph(std::string_view text);
  /// `rows` have as many cells as `header`; the first column is left-aligned.
  void table(const std::vector<std::string>& header,
             const std::vector<std::vector<std::string>>& rows);
  void pictures(const std::vector<ShownPicture>& row);
  /// HTML as it stands, which the caller has escaped.
  void raw(std::string_view html) { body_ += html; }

  /// The whole file. The same for the same content.
  std::string text() const;

 private:
  std::string title_, body_;
};

}  // namespace mos::eval
