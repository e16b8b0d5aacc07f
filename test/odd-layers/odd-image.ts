import { outlineOf } from '#layerstack/conformance/index.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import { LayerApplier } from '#layerstack/tar/apply.js'
import { TarReader } from '#layerstack/tar/reader.js'
import { imageOf, writeArchive } from '../store/archive.js'

/** A docker-archive of an image of these layers; of the same layers the same image. */
export function writeImage(path: string, layers: readonly Buffer[], reference: string): Promise<void> {
  return writeArchive(path, imageOf(layers, reference))
}

/** The outline of what tars make, in memory, one on the other. */
export async function outlineOfTars(tars: Iterable<AsyncIterable<Uint8Array>>): Promise<string[]> {
  const raw = new MemoryFs()
  for (const tar of tars) {
    const [reader, applier] = [new TarReader(), new LayerApplier({ syncFs: raw })]
    for await (const chunk of tar) for (const part of reader.push(chunk)) applier.part(part)
    for (const part of reader.end()) applier.part(part)
    applier.finish()
  }
  return outlineOf(raw)
}

/** For titles of tests: vitest cuts off the names of objects. */
export function named<T extends { readonly name: string }>(all: readonly T[]): (readonly [string, T])[] {
  return all.map((each) => [each.name, each])
}
