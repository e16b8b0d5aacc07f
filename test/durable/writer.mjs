// Rewrites one file forever, each time with 100,000 copies of another letter.
import { writeFileAtomic } from '#layerstack/durable/atomic-file.js'

for (let round = 0; ; round++) {
  await writeFileAtomic(process.argv[2], 'abcdefghij'[round % 10].repeat(100_000))
  if (round === 0) console.log('writes')
}
