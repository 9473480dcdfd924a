#include "textflag.h"

// SI points at the row, DX at a block of 32 training rows: for each feature, the 32
// values of it. CX is the number of features, R8 that of the blocks.
#define ARGUMENTS \
	MOVQ to+0(FP), DI; \
	MOVQ near+8(FP), R11; \
	MOVQ row+16(FP), SI; \
	MOVQ train+24(FP), DX; \
	MOVQ d+32(FP), CX; \
	MOVQ n+40(FP), R8

// BELOW shifts into BX which of 8 sums are not above the limit.
#define BELOW(sums) \
	VCMPPS $2, Y14, sums, Y13; \
	VMOVMSKPS Y13, AX; \
	SHLL $8, BX; \
	ORL AX, BX

// func euclidean32(to *float32, near *uint32, row, train *float32, d, n int, limit float32)
TEXT ·euclidean32(SB), NOSPLIT, $0-52
	ARGUMENTS
	VBROADCASTSS limit+48(FP), Y14

block:
	TESTQ R8, R8
	JZ    done
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	MOVQ  SI, R9
	MOVQ  CX, R10

feature:
	VBROADCASTSS (R9), Y4
	VSUBPS (DX), Y4, Y5
	VSUBPS 32(DX), Y4, Y6
	VSUBPS 64(DX), Y4, Y7
	VSUBPS 96(DX), Y4, Y8
	VMULPS Y5, Y5, Y5
	VMULPS Y6, Y6, Y6
	VMULPS Y7, Y7, Y7
	VMULPS Y8, Y8, Y8
	VADDPS Y5, Y0, Y0
	VADDPS Y6, Y1, Y1
	VADDPS Y7, Y2, Y2
	VADDPS Y8, Y3, Y3
	ADDQ $4, R9
	ADDQ $128, DX
	DECQ R10
	JNZ  feature

	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	VMOVUPS Y3, 96(DI)
	XORL BX, BX
	BELOW(Y3)
	BELOW(Y2)
	BELOW(Y1)
	BELOW(Y0)
	MOVL BX, (R11)
	ADDQ $128, DI
	ADDQ $4, R11
	DECQ R8
	JMP  block

done:
	VZEROUPPER
	RET

// SQUARE adds the squared differences of a feature of 4 training rows to acc.
#define SQUARE(of, tmp, acc) \
	VSUBPD of(DX), Y8, tmp; \
	VMULPD tmp, tmp, tmp; \
	VADDPD tmp, acc, acc

// STORE writes 4 sums, and shifts into BX which of them are not above the limit.
#define STORE(at, sums) \
	VMOVUPD sums, at(DI); \
	VCMPPD $2, Y14, sums, Y13; \
	VMOVMSKPD Y13, AX; \
	SHLL $4, BX; \
	ORL AX, BX

// func euclidean64(to *float64, near *uint32, row, train *float64, d, n int, limit float64)
TEXT ·euclidean64(SB), NOSPLIT, $0-56
	ARGUMENTS
	VBROADCASTSD limit+48(FP), Y14

block:
	TESTQ R8, R8
	JZ    done
	VXORPD Y0, Y0, Y0
	VXORPD Y1, Y1, Y1
	VXORPD Y2, Y2, Y2
	VXORPD Y3, Y3, Y3
	VXORPD Y4, Y4, Y4
	VXORPD Y5, Y5, Y5
	VXORPD Y6, Y6, Y6
	VXORPD Y7, Y7, Y7
	MOVQ  SI, R9
	MOVQ  CX, R10

feature:
	VBROADCASTSD (R9), Y8
	SQUARE(0, Y9, Y0)
	SQUARE(32, Y10, Y1)
	SQUARE(64, Y11, Y2)
	SQUARE(96, Y12, Y3)
	SQUARE(128, Y9, Y4)
	SQUARE(160, Y10, Y5)
	SQUARE(192, Y11, Y6)
	SQUARE(224, Y12, Y7)
	ADDQ $8, R9
	ADDQ $256, DX
	DECQ R10
	JNZ  feature

	XORL BX, BX
	STORE(224, Y7)
	STORE(192, Y6)
	STORE(160, Y5)
	STORE(128, Y4)
	STORE(96, Y3)
	STORE(64, Y2)
	STORE(32, Y1)
	STORE(0, Y0)
	MOVL BX, (R11)
	ADDQ $256, DI
	ADDQ $4, R11
	DECQ R8
	JMP  block

done:
	VZEROUPPER
	RET

// ABSOLUTE adds the absolute differences of a feature of 8 training rows to acc; Y15
// holds all bits but the sign.
#define ABSOLUTE(at, of, tmp, acc) \
	VBROADCASTSS at(R9), tmp; \
	VSUBPS of(R12), tmp, tmp; \
	VANDPS Y15, tmp, tmp; \
	VADDPS tmp, acc, acc

// func manhattan32(to *float32, near *uint32, row, train *float32, d, n int, limit float32)
TEXT ·manhattan32(SB), NOSPLIT, $0-52
	ARGUMENTS
	VBROADCASTSS limit+48(FP), Y14
	VPCMPEQD Y15, Y15, Y15
	VPSRLD $1, Y15, Y15

block:
	TESTQ R8, R8
	JZ    done
	MOVQ $3, R13 // the last 8 rows of the block come first

part:
	MOVQ R13, R12
	SHLQ $5, R12
	ADDQ DX, R12
	MOVQ SI, R9
	MOVQ CX, R10
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7

eight:
	CMPQ R10, $8
	JLT  joined
	ABSOLUTE(0, 0, Y8, Y0)
	ABSOLUTE(4, 128, Y9, Y1)
	ABSOLUTE(8, 256, Y10, Y2)
	ABSOLUTE(12, 384, Y11, Y3)
	ABSOLUTE(16, 512, Y8, Y4)
	ABSOLUTE(20, 640, Y9, Y5)
	ABSOLUTE(24, 768, Y10, Y6)
	ABSOLUTE(28, 896, Y11, Y7)
	ADDQ $32, R9
	ADDQ $1024, R12
	SUBQ $8, R10
	JMP  eight

joined:
	VADDPS Y4, Y0, Y0
	VADDPS Y5, Y1, Y1
	VADDPS Y6, Y2, Y2
	VADDPS Y7, Y3, Y3
	CMPQ R10, $4
	JLT  folded
	ABSOLUTE(0, 0, Y8, Y0)
	ABSOLUTE(4, 128, Y9, Y1)
	ABSOLUTE(8, 256, Y10, Y2)
	ABSOLUTE(12, 384, Y11, Y3)
	ADDQ $16, R9
	ADDQ $512, R12
	SUBQ $4, R10

folded:
	VADDPS Y2, Y0, Y0
	VADDPS Y3, Y1, Y1
	VADDPS Y1, Y0, Y0

rest:
	TESTQ R10, R10
	JZ    store
	ABSOLUTE(0, 0, Y8, Y0)
	ADDQ $4, R9
	ADDQ $128, R12
	DECQ R10
	JMP  rest

store:
	MOVQ R13, R12
	SHLQ $5, R12
	VMOVUPS Y0, (DI)(R12*1)
	BELOW(Y0)
	DECQ R13
	JGE  part

	MOVL BX, (R11)
	MOVQ CX, R12
	SHLQ $7, R12
	ADDQ R12, DX
	ADDQ $128, DI
	ADDQ $4, R11
	DECQ R8
	JMP  block

done:
	VZEROUPPER
	RET
