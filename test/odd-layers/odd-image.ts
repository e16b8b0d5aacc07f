import { outlineOf } from '#layerstack/conformance/index.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import { LayerApplier } from '#layerstack/tar/apply.js'
import { TarReader } from '#layerstack/tar/reader.js'
import { imageOf, writeArchive } from '../store/archive.js'

/** Writes a docker-archive of an image of these layers. The same layers give the same image. */
export function writeImage(path: string, layers: readonly Buffer[], reference: string): Promise<void> {
  return writeArchive(path, imageOf(layers, reference))
}

/** The outline of the tree that these layer tars give in memory, lowest first. */
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

/** Adds names for test titles, because vitest truncates objects there. */
export function named<T extends { readonly name: string }>(all: readonly T[]): (readonly [string, T])[] {
  return all.map((each) => [each.name, each])
}
