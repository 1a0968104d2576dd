// What the server writes of one expression differs before and after a dump and restore in one place: the cast of an
// array constructor, which stands outside the brackets at first, and with each element once it was read again:
//   (ARRAY['a'::character varying, 'b'::character varying])::text[]
//   ARRAY[('a'::character varying)::text, ('b'::character varying)::text]
// Every CHECK (column IN (…)) of a varchar column is of that form. Here all are brought into the second.
#pragma once

#include <cstddef>
#include <string_view>

namespace sor::fingerprint {

// The length of the text so written; writes it too unless `into` is null. Allocates nothing, never fails: what does not
// look like such a cast stays as it is.
size_t with_inner_casts(std::string_view text, char* into);

} // namespace sor::fingerprint
