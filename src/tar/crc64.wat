;; CRC64-ISO, least significant bit first: bit 63 of a word is the coefficient of x^0, bit 0 that of x^63.
;;
;; The polynomial is x^64 + x^4 + x^3 + x + 1, so x^64 is x^4 + x^3 + x + 1. Squared twice, x^256 is
;; x^16 + x^12 + x^4 + 1. Multiplying a word by either takes a few shifts. Bits that a shift drops have degree 64 or
;; more and are multiplied by x^64 again. Four words are processed side by side, each multiplied by x^256, so that they
;; do not depend on one another.
(module
  (memory (export "memory") 4)
  ;; The register value, before the final inversion.
  (global $crc (export "crc") (mut i64) (i64.const -1))

  ;; a * x^64
  (func $times64 (param $a i64) (result i64)
    (local $over i64)
    (local.set $over
      (i64.xor
        (i64.shl (local.get $a) (i64.const 63))
        (i64.xor (i64.shl (local.get $a) (i64.const 61)) (i64.shl (local.get $a) (i64.const 60)))))
    (i64.xor
      (i64.xor
        (i64.xor (local.get $a) (i64.rotr (local.get $a) (i64.const 1)))
        (i64.xor (i64.rotr (local.get $a) (i64.const 3)) (i64.rotr (local.get $a) (i64.const 4))))
      (i64.xor
        (i64.shr_u (local.get $over) (i64.const 1))
        (i64.xor (i64.shr_u (local.get $over) (i64.const 3)) (i64.shr_u (local.get $over) (i64.const 4))))))

  ;; Adds the first $length bytes of the memory to the checksum.
  (func (export "update") (param $length i32)
    (local $at i32)
    (local $a i64) (local $last i64)
    (local $ab v128) (local $cd v128) (local $over v128)
    (local.set $a (global.get $crc))
    (if (i32.ge_u (local.get $length) (i32.const 64))
      (then
        (local.set $ab (v128.xor (i64x2.replace_lane 0 (local.get $ab) (local.get $a)) (v128.load (local.get $at))))
        (local.set $cd (v128.load offset=16 (local.get $at)))
        (local.set $at (i32.const 32))
        (loop $blocks
          (local.set $over
            (v128.xor
              (i64x2.shl (local.get $ab) (i32.const 60))
              (v128.xor (i64x2.shl (local.get $ab) (i32.const 52)) (i64x2.shl (local.get $ab) (i32.const 48)))))
          (local.set $ab
            (v128.xor
              (v128.xor
                (v128.xor (local.get $ab) (i64x2.shr_u (local.get $ab) (i32.const 4)))
                (v128.xor (i64x2.shr_u (local.get $ab) (i32.const 12)) (i64x2.shr_u (local.get $ab) (i32.const 16))))
              (v128.xor
                (v128.xor (local.get $over) (i64x2.shr_u (local.get $over) (i32.const 1)))
                (v128.xor (i64x2.shr_u (local.get $over) (i32.const 3)) (i64x2.shr_u (local.get $over) (i32.const 4))))))
          (local.set $ab (v128.xor (local.get $ab) (v128.load (local.get $at))))
          (local.set $over
            (v128.xor
              (i64x2.shl (local.get $cd) (i32.const 60))
              (v128.xor (i64x2.shl (local.get $cd) (i32.const 52)) (i64x2.shl (local.get $cd) (i32.const 48)))))
          (local.set $cd
            (v128.xor
              (v128.xor
                (v128.xor (local.get $cd) (i64x2.shr_u (local.get $cd) (i32.const 4)))
                (v128.xor (i64x2.shr_u (local.get $cd) (i32.const 12)) (i64x2.shr_u (local.get $cd) (i32.const 16))))
              (v128.xor
                (v128.xor (local.get $over) (i64x2.shr_u (local.get $over) (i32.const 1)))
                (v128.xor (i64x2.shr_u (local.get $over) (i32.const 3)) (i64x2.shr_u (local.get $over) (i32.const 4))))))
          (local.set $cd (v128.xor (local.get $cd) (v128.load offset=16 (local.get $at))))
          (local.set $at (i32.add (local.get $at) (i32.const 32)))
          (br_if $blocks
            (i32.le_u (i32.add (local.get $at) (i32.const 32)) (local.get $length))))
        (local.set $a (call $times64 (i64x2.extract_lane 0 (local.get $ab))))
        (local.set $a (call $times64 (i64.xor (local.get $a) (i64x2.extract_lane 1 (local.get $ab)))))
        (local.set $a (call $times64 (i64.xor (local.get $a) (i64x2.extract_lane 0 (local.get $cd)))))
        (local.set $a (call $times64 (i64.xor (local.get $a) (i64x2.extract_lane 1 (local.get $cd)))))))
    (block $done
      (loop $words
        (br_if $done
          (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $length)))
        (local.set $a (call $times64 (i64.xor (local.get $a) (i64.load (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $words)))
    (block $end
      (loop $bytes
        (br_if $end (i32.ge_u (local.get $at) (local.get $length)))
        (local.set $a (i64.xor (local.get $a) (i64.load8_u (local.get $at))))
        (local.set $last (i64.shl (local.get $a) (i64.const 56)))
        (local.set $a
          (i64.xor
            (i64.shr_u (local.get $a) (i64.const 8))
            (i64.xor
              (i64.xor (local.get $last) (i64.shr_u (local.get $last) (i64.const 1)))
              (i64.xor
                (i64.shr_u (local.get $last) (i64.const 3))
                (i64.shr_u (local.get $last) (i64.const 4))))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $bytes)))
    (global.set $crc (local.get $a))))
