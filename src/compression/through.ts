import { pipeline, Readable, type Transform } from 'node:stream'

/**
 * Yields what a Node transform makes of the chunks. Leaving early closes the source. `explain` may replace an error
 * that the transform or the source threw.
 */
export async function* through(
  transform: Transform,
  source: AsyncIterable<Uint8Array>,
  explain: (error: unknown) => unknown = (error) => error,
): AsyncGenerator<Uint8Array, void, void> {
  pipeline(Readable.from(source), transform, () => {
    // An error in either destroys both, and reaches the reader below.
  })
  try {
    for await (const chunk of transform) yield chunk as Uint8Array
  } catch (error) {
    throw explain(error)
  }
}
