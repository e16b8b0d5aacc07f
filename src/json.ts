/** Deeper than any image document, and shallow enough for every recursive reader. */
const MAX_DEPTH = 512

/**
 * Parses JSON that may be hostile. Throws `SyntaxError` for invalid JSON, and for lists and objects nested deeper than
 * 512. `JSON.parse` takes minutes for a few megabytes of brackets.
 */
export function parseJson(text: string): unknown {
  refuseDeep(text)
  return JSON.parse(text)
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

function refuseDeep(text: string): void {
  let depth = 0
  let inString = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (inString) {
      if (code === BACKSLASH) at++
      else if (code === QUOTE) inString = false
    } else if (code === QUOTE) inString = true
    // [ and {, ] and }.
    else if (code === 0x5b || code === 0x7b) depth++
    else if (code === 0x5d || code === 0x7d) depth--
    if (depth > MAX_DEPTH) throw new SyntaxError(`the JSON is nested more than ${MAX_DEPTH} levels deep`)
  }
}
