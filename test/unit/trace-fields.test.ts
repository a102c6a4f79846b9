import { expect, test } from "vitest";
import { traceFields } from "../../src/server/trace-fields.ts";
import { traceParentOf } from "../../src/server/trace-parent.ts";

const [trace, span] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];

test.each([
  { text: `00-${trace}-${span}-01`, isTrace: true, why: "that of the specification" },
  { text: `00-${trace}-${span}-00`, isTrace: true, why: "not sampled is a trace all the same" },
  { text: `01-${trace}-${span}-01-more`, isTrace: true, why: "a later version has more" },
  { text: `01-${trace}-${span}-01`, isTrace: true, why: "or the same" },
  { text: `00-${trace}-${span}-01-more`, isTrace: false, why: "this version has no more" },
  { text: `01-${trace}-${span}-01more`, isTrace: false, why: "the flags do not end" },
  { text: `ff-${trace}-${span}-01`, isTrace: false, why: "the version that is none" },
  { text: `00-${"0".repeat(32)}-${span}-01`, isTrace: false, why: "no trace" },
  { text: `00-${trace}-${"0".repeat(16)}-01`, isTrace: false, why: "no span" },
  { text: `00-${trace.toUpperCase()}-${span}-01`, isTrace: false, why: "capital letters are invalid" },
  { text: `00-${trace}-${span}`, isTrace: false, why: "no flags" },
  { text: `00-${trace}-${span}-01\n`, isTrace: false, why: "a line of the log must not end" },
  { text: `00-${trace}-${span}-01, 00-${trace}-${span}-01`, isTrace: false, why: "two headers are none" },
  { text: `01-${trace}-${span}-01-${"a".repeat(1_000)}`, isTrace: false, why: "longer than any" },
  { text: "", isTrace: false, why: "empty" },
  { text: undefined, isTrace: false, why: "there is none" },
  { text: { trace }, isTrace: false, why: "of connection_init it may be anything" },
])("$text is a trace: $isTrace, since $why", ({ text, isTrace }) => {
  expect(traceFields(text)).toEqual(isTrace ? { trace_id: trace, span_id: span } : null);
});

test.each([
  { flags: "01", isSampled: true, why: "the flag" },
  { flags: "00", isSampled: false, why: "no flag" },
  { flags: "03", isSampled: true, why: "beside the flag of random ids" },
  { flags: "02", isSampled: false, why: "that flag alone" },
  { flags: "ff", isSampled: true, why: "flags of later versions are ignored" },
])("flags $flags are sampled: $isSampled, since $why", ({ flags, isSampled }) => {
  expect(traceParentOf(`00-${trace}-${span}-${flags}`)).toEqual({ traceId: trace, spanId: span, isSampled });
});
