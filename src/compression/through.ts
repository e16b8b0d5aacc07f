import { pipeline, Readable, type Transform } from 'node:stream'

/**
 * What a transform of Node's makes of the chunks. Leaving early closes the source; `explain` may put another error in
 * the place of one that the transform or the source threw.
 */
export async function* through(
  transform: Transform,
  source: AsyncIterable<Uint8Array>,
  explain: (error: unknown) => unknown = (error) => error,
): AsyncGenerator<Uint8Array, void, void> {
  pipeline(Readable.from(source), transform, () => {
    // An error of either destroys both, and reaches the reader below.
  })
  try {
    for await (const chunk of transform) yield chunk as Uint8Array
  } catch (error) {
    throw explain(error)
  }
}
